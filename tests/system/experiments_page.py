"""docs/experiments.md, rendered from the experiment's own descriptions: `make docs`."""

import json
import sys
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from rbm_training.config import ExperimentConfig

HEAD = """# Experiments

An experiment is a TOML file; what it leaves out has the default below. `rbm-train run FILE --set KEY=VALUE`
overrides a key, as in `--set student.hidden=256`. An unknown key is refused with the nearest known one, or
with the section that it belongs to. Paths in a file are relative to that file, paths of `--set` to the
working directory. The run folder holds the resolved experiment, complete, as `config.toml`.

`rbm-train init FOLDER` writes a first experiment for the graph in a folder, and `rbm-train check FILE` says
what a run would read: [own-graph.md](own-graph.md).

This page is rendered by `make docs` from the descriptions in `training/rbm_training/config/`.
"""


def render() -> str:
    """The page: one table for the experiment, one for each of its parts."""
    plain = {name: field for name, field in ExperimentConfig.model_fields.items() if not _parts(field)}
    sections = [_table("", plain)]
    for name, field in ExperimentConfig.model_fields.items():
        for part in _parts(field):
            title = f"## `[{name}]`\n\n{_one_line(part.__doc__)}\n"
            sections.append(f"{title}\n{_table(f'{name}.', part.model_fields)}")
    return "\n".join([HEAD, *sections])


def _parts(field: FieldInfo) -> list[type[BaseModel]]:
    """The records that a field may hold, none for a plain value."""
    return list(dict.fromkeys(_records(field.annotation)))


def _records(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    inner = get_args(annotation)[:1] if get_origin(annotation) is Annotated else get_args(annotation)
    return [record for choice in inner for record in _records(choice)]


def _table(prefix: str, fields: dict[str, FieldInfo]) -> str:
    rows = [f"| `{prefix}{name}` | {_default(field)} | {_meaning(field)} |" for name, field in fields.items()]
    return "\n".join(["| key | default | meaning |", "|---|---|---|", *rows]) + "\n"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default is None:
        return "unset"
    return f"`{json.dumps(field.default, default=str)}`"  # which TOML would write the same


def _meaning(field: FieldInfo) -> str:
    assert field.description, "every field of an experiment is explained"
    return _one_line(field.description).replace("|", "\\|")


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


if __name__ == "__main__":
    sys.stdout.write(render())
