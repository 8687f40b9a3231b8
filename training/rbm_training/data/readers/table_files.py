"""The tables of a graph where they lie: Parquet or CSV, a file each or a folder of part files."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from rbm_training.data.graph import GraphError
from rbm_training.data.readers.csv_columns import AS_TEXT, with_types
from rbm_training.data.readers.unreadable import unreadable, unreadable_text
from rbm_training.errors import suggestion

TABLES: Final = ("nodes", "edges", "labels")
SUFFIXES: Final = (".parquet", ".csv")
_PACKED: Final = (".gz", ".bz2", ".xz", ".zst", ".zip")
_FORMATS: Final = {".parquet": "Parquet", ".csv": "CSV"}
_PANDAS_INDEX: Final = re.compile(r"__index_level_\d+__|Unnamed: \d+|")
"""What the unnamed index of a data frame is called: in Parquet, in CSV that was read once more, in CSV."""


def find_tables(folder: Path) -> dict[str, Path]:
    """Return the file, or the folder of part files, of each table that a folder holds.

    Raises:
        GraphError: a table that nobody reads, or one that is there twice.
    """
    places = {name: [folder / f"{name}{suffix}" for suffix in SUFFIXES] for name in TABLES}
    known = {path.name for paths in places.values() for path in paths}
    found = {path.name for path in folder.iterdir() if path.suffix in SUFFIXES and path.name[0] not in "._"}
    if unlisted := sorted(found - known):
        wanted = ", ".join(f"{name}.parquet" for name in TABLES)
        meant = suggestion(Path(unlisted[0]).stem, TABLES)
        raise GraphError(str(folder), f"unknown tables {', '.join(unlisted)}", f"{wanted}, or .csv{meant}")
    tables = {name: _present(folder / name, paths) for name, paths in places.items()}
    return {name: path for name, path in tables.items() if path is not None}


def read_tables(paths: Mapping[str, Path]) -> dict[str, pa.Table]:
    """Read tables; the columns of those in CSV have the types that fit all tables together.

    Raises:
        GraphError: a file is damaged, part files do not fit together, or two columns have one name.
    """
    tables = {name: _read(path) for name, path in paths.items()}
    written = {name for name, path in paths.items() if _parts(path)[0].suffix == ".csv"}
    return with_types(tables, written)


def without_index(table: pa.Table) -> tuple[pa.Table, tuple[str, ...]]:
    """Leave out the unnamed index of a data frame, which numbers rows and says nothing; and its columns."""
    dropped = tuple(name for name in table.column_names if _PANDAS_INDEX.fullmatch(name))
    return table.drop_columns(list(dropped)), dropped


def _present(bare: Path, files: Iterable[Path]) -> Path | None:
    found = [path for path in files if path.exists()] + ([bare] if bare.is_dir() else [])
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise GraphError(str(bare.parent), names, f"one table of {bare.name}")
    packed = [path.name for path in bare.parent.glob(f"{bare.name}.*") if path.suffix in _PACKED]
    if packed and not found:
        wanted = f"it unpacked, as {bare.name}.csv or {bare.name}.parquet"
        raise GraphError(str(bare.parent), f"table {packed[0]}", wanted)
    return found[0] if found else None


def _parts(path: Path) -> list[Path]:
    """The files of a table, as they are numbered: part-2 before part-10."""
    if not path.is_dir():
        return [path]
    inside = [part for part in path.iterdir() if part.name[0] not in "._"]  # others are notes of who wrote it
    kinds = {part.suffix for part in inside}
    if len(kinds) != 1 or not kinds < set(SUFFIXES):
        names = ", ".join(sorted(part.name for part in inside)[:5]) or "nothing"
        raise GraphError(str(path), names, "part files, all .parquet or all .csv")
    return sorted(inside, key=lambda part: [int(it) if it.isdigit() else it for it in _split(part.name)])


def _split(name: str) -> list[str]:
    return re.split(r"(\d+)", name)  # texts and numbers take turns, so that only like is compared with like


def _read(path: Path) -> pa.Table:
    parts = _parts(path)
    tables = [_read_part(part) for part in parts]
    names = [sorted(table.column_names) for table in tables]
    for part, columns in zip(parts, names, strict=True):
        if len(set(columns)) < len(columns):
            raise GraphError(str(part), f"columns {', '.join(columns)}", "different names")
        if columns != names[0]:
            raise GraphError(
                str(part), f"columns {', '.join(columns)}", f"{', '.join(names[0])}, as in {parts[0].name}"
            )
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        wanted = "part files whose columns have the same types"
        raise GraphError(str(path), f"part files that differ ({error})", wanted) from error


def _read_part(path: Path) -> pa.Table:
    kind = _FORMATS[path.suffix]
    if not path.is_file():
        raise GraphError(str(path), "no file", f"a {kind} table")
    try:
        table = _read_csv(path) if kind == "CSV" else _read_parquet(path)
        names = table.column_names
    except Exception as error:  # the unit of work is this file, and each codec fails its own way
        if kind == "CSV":
            raise unreadable_text(path, "CSV table", "lines of values with commas", str(error)) from error
        raise unreadable(path, "Parquet table", "one", str(error), own=(b"PAR1",)) from error
    first = names[0] if names else ""
    if kind == "CSV" and len(names) == 1 and (found := re.search("[;\t|]", first)):
        raise GraphError(str(path), f"columns with {found[0]!r} between them", "commas")
    return table


def _read_csv(path: Path) -> pa.Table:
    table = pa_csv.read_csv(
        path,
        parse_options=pa_csv.ParseOptions(newlines_in_values=True),
        convert_options=pa_csv.ConvertOptions(
            column_types=AS_TEXT, null_values=[""], strings_can_be_null=True
        ),
    )
    if pa.binary() in table.schema.types:  # as strings that are no UTF-8 are read
        raise ValueError("strings that are no UTF-8")
    return table


def _read_parquet(path: Path) -> pa.Table:
    with pq.ParquetFile(path) as file:
        return file.read()
