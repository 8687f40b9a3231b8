"""The tables that the tutorial's script makes of a Packages file."""

import gzip
import lzma
import sys

import pyarrow.parquet as pq
import pytest

from examples.debian_packages import main

PACKAGES = """\
Package: kite
Installed-Size: 12
Maintainer: The Wind Team <wind@lists.example.org>
Architecture: all
Pre-Depends: string (>= 1.0)
Depends: paper:any (>= 2~) | cloth, kite-data (= 3), no-such-package
Recommends: wind, kite
Description: toy that flies
Tag: role::program, use::playing,
 made-of::paper
Section: contrib/toys
Priority: optional

Package: string
Maintainer: A. Person <a.person@example.org>
Section: libs

Package: paper
Section: libs


Package: cloth
Package-Type: deb

Package: kite-data
Section: toys

Package: wind
Depends: kite
Section: toys
"""


@pytest.fixture(params=["Packages", "Packages.gz", "Packages.xz"])
def tables(request, tmp_path, monkeypatch):
    """The rows of nodes, edges and labels."""
    path = tmp_path / request.param
    compress = {".gz": gzip.compress, ".xz": lzma.compress}.get(path.suffix, bytes)
    path.write_bytes(compress(PACKAGES.encode()))
    monkeypatch.setattr(sys, "argv", ["debian_packages.py", str(tmp_path / "out"), "--packages", str(path)])
    main()
    names = ("nodes", "edges", "labels")
    return [pq.read_table(tmp_path / "out" / f"{name}.parquet").to_pylist() for name in names]


def test_packages_become_records_with_gaps_and_without_names_of_persons(tables):
    kite, string, *_ = tables[0]
    assert kite == {
        "node_id": "kite",
        "summary": "kite - toy that flies",
        "team": "The Wind Team",
        "priority": "optional",
        "architecture": "all",
        "installed_kib": 12,
        "tags": ["role::program", "use::playing", "made-of::paper"],
    }
    assert (string["team"], string["installed_kib"], string["tags"]) == (None, None, [])


def test_edges_are_dependencies_on_packages_that_are_known(tables):
    found = {(edge["source"], edge["target"]) for edge in tables[1]}
    others = ("string", "paper", "cloth", "kite-data", "wind")
    assert found == {*(("kite", other) for other in others), ("wind", "kite")}


def test_labels_are_sections_without_their_component(tables):
    labels = {row["node_id"]: row["label"] for row in tables[2]}
    assert labels["kite"] == labels["wind"] == "toys"
    assert "cloth" not in labels
