"""Pages of the site that lie elsewhere in the repository, and links as they are on the site.

MkDocs calls these functions by their names. Links in the repository lead to files; on the site those to its
pages lead there, and those to code, which the site does not have, become plain words.
"""

import posixpath
import re
from pathlib import Path
from typing import Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).parents[1]
DOCS: Final = "docs"
PAGES_ELSEWHERE: Final = {
    "index.md": "README.md",
    "client.md": "clients/python/README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
}
SITE_PAGES: Final = {path: page for page, path in PAGES_ELSEWHERE.items()}
LINK: Final = re.compile(r"\[([^\]]+)\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put all decisions in the place of their folder."""
    for entry in config.nav or []:
        for title, target in entry.items():
            if target == "decisions":
                pages = sorted((ROOT / DOCS / target).glob("*.md"))
                entry[title] = [f"{target}/{page.name}" for page in pages]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie elsewhere."""
    for page, path in PAGES_ELSEWHERE.items():
        files.append(File.generated(config, page, content=(ROOT / path).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links to files into links to pages, or into plain words; render what is in folds."""
    here = page.file.src_uri
    folder = posixpath.dirname(PAGES_ELSEWHERE.get(here, f"{DOCS}/{here}"))

    def on_the_site(link: re.Match[str]) -> str:
        words, target, anchor = link.groups(default="")
        path = posixpath.normpath(posixpath.join(folder, target))
        found = files.get_file_from_path(SITE_PAGES.get(path, path.removeprefix(f"{DOCS}/")))
        if found is not None:
            return f"[{words}]({posixpath.relpath(found.src_uri, posixpath.dirname(here) or '.')}{anchor})"
        return words if (ROOT / path).exists() else link[0]

    return LINK.sub(on_the_site, markdown.replace("<details>", "<details markdown>"))
