"""Packages that do not exist, in the format of Debian's Packages files."""

from pathlib import Path

import numpy as np

WORDS = {
    "libs": ("shared", "routines", "linked", "runtime"),
    "python": ("python", "module", "bindings", "pythonic"),
    "contrib/games": ("puzzle", "arcade", "levels", "players"),
    "doc": ("manual", "pages", "reference", "guide"),
    "fonts": ("typeface", "glyphs", "serif", "script"),
    "science": ("measure", "maps", "birds", "statistics"),
}
COMMON = ("small", "fast", "for", "with", "of", "many", "simple", "new")


def write_packages(path: Path, num_packages: int, also_named: list[str]) -> None:
    """Packages of six sections; each depends on a few of its own section and of those before it.

    Args:
        also_named: names of packages that take the place of made-up ones.
    """
    generator = np.random.default_rng(0)
    sections = generator.choice(list(WORDS), num_packages)
    names = [*also_named, *(f"made-up-{index}" for index in range(len(also_named), num_packages))]
    paragraphs = []
    for index, (name, section) in enumerate(zip(names, sections, strict=True)):
        alike = np.flatnonzero(sections[: index + 1] == section)
        others = [names[other] for other in (*generator.choice(alike, 3), generator.integers(index + 1))]
        words = [*generator.choice(WORDS[section], 2), *generator.choice(COMMON, 3)]
        lines = {
            "Package": name,
            "Installed-Size": str(generator.integers(10, 90_000)) if generator.random() < 0.9 else None,
            "Maintainer": f"Team {section} <{index % 7}@lists.example.org>"
            if index % 3
            else "A <a@example.org>",
            "Architecture": str(generator.choice(["all", "amd64"])),
            "Depends": f"{others[0]} (>= 1.2~), {others[1]}:any | {others[2]}, virtual-package",
            "Recommends": others[3],
            "Description": " ".join(generator.permutation(words)),
            "Tag": f"role::{section},\n use::{generator.integers(5)}" if index % 2 else None,
            "Section": section,
            "Priority": "optional",
        }
        paragraphs.append("\n".join(f"{field}: {text}" for field, text in lines.items() if text))
    path.write_text("\n\n".join(paragraphs) + "\n")
