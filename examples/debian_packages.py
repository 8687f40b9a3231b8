"""Debian's packages as a graph of one's own, for docs/tutorial.md: three tables of raw columns, in Parquet.

    python examples/debian_packages.py FOLDER [--packages FILE]

A package is a node, what it depends on or recommends its neighbours, and its section the class to be told.
The packages are those that `apt-cache dumpavail` knows, or those of a Packages file as a mirror has it.
"""

import argparse
import gzip
import lzma
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

FIELD = re.compile(r"^([\w-]+): ?(.*(?:\n[ \t].*)*)", re.MULTILINE)
PACKAGE_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")
DEPENDENCIES = ("Pre-Depends", "Depends", "Recommends")
TEAM = re.compile(r"(.+?) <[^>]*@(?:lists\.|tracker\.|packages\.|alioth-lists\.)")
OPENERS = {".gz": gzip.open, ".xz": lzma.open}


def main() -> None:
    """Write the tables of nodes, edges and labels."""
    parser = argparse.ArgumentParser(description="Write Debian's packages as the tables of a graph.")
    parser.add_argument("folder", type=Path, help="where nodes, edges and labels are written")
    parser.add_argument("--packages", type=Path, help="a Packages file, .gz or .xz or neither")
    arguments = parser.parse_args()
    text = read_packages(arguments.packages) if arguments.packages else dump_available()
    packages = {package["Package"]: package for package in parse(text)}
    tables = {"nodes": nodes(packages), "edges": edges(packages), "labels": labels(packages)}
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        pq.write_table(table, arguments.folder / f"{name}.parquet")
        print(f"{name:<7} {table.num_rows:>8,}  {', '.join(table.column_names)}")


def dump_available() -> str:
    """What this machine's apt knows of all packages, installed or not."""
    return subprocess.run(["apt-cache", "dumpavail"], check=True, capture_output=True, text=True).stdout


def read_packages(path: Path) -> str:
    """The text of a Packages file."""
    with OPENERS.get(path.suffix, open)(path, "rt", encoding="utf-8") as file:
        return str(file.read())


def parse(text: str) -> Iterator[dict[str, str]]:
    """The fields of each package: paragraphs, a field a line, what goes on in the next line indented."""
    for paragraph in re.split(r"\n{2,}", text.strip()):
        yield dict(FIELD.findall(paragraph))


def nodes(packages: dict[str, dict[str, str]]) -> pa.Table:
    """A row a package; columns as they come: words, categories, a number, lists of tags, and gaps."""
    return pa.Table.from_pylist([{"node_id": name} | record(fields) for name, fields in packages.items()])


def record(fields: dict[str, str]) -> dict[str, Any]:
    """What is known of a package besides its dependencies and its section; a service takes the same.

    Maintainers are kept where they are teams: a model has no use for the names of persons.
    """
    size, team = fields.get("Installed-Size"), TEAM.match(fields.get("Maintainer", ""))
    synopsis = fields.get("Description", "").split("\n")[0]
    return {
        "summary": f"{fields['Package']} - {synopsis}",
        "team": team and team[1],
        "priority": fields.get("Priority"),
        "architecture": fields.get("Architecture"),
        "installed_kib": int(size) if size else None,
        "tags": re.split(r",\s*", fields["Tag"]) if "Tag" in fields else [],
    }


def edges(packages: dict[str, dict[str, str]]) -> pa.Table:
    """A row for each package that another one needs or recommends, alternatives included, if it is known."""
    pairs = [
        (name, other)
        for name, fields in packages.items()
        for other in sorted(dependencies(fields))
        if other in packages and other != name
    ]
    return pa.table({"source": [source for source, _ in pairs], "target": [target for _, target in pairs]})


def dependencies(fields: dict[str, str]) -> set[str]:
    """Names of packages in the fields of dependencies, as in `libc6 (>= 2.34), python3:any | python3`."""
    wanted = ", ".join(fields.get(field, "") for field in DEPENDENCIES)
    found = (PACKAGE_NAME.match(word.strip()) for word in re.split(r"[,|]", wanted))
    return {match[0] for match in found if match}


def labels(packages: dict[str, dict[str, str]]) -> pa.Table:
    """The section of each package that names one, as `games` for both `games` and `non-free/games`."""
    sections = {name: fields["Section"] for name, fields in packages.items() if "Section" in fields}
    return pa.table(
        {
            "node_id": list(sections),
            "label": [section.rsplit("/", 1)[-1] for section in sections.values()],
        }
    )


if __name__ == "__main__":
    main()
