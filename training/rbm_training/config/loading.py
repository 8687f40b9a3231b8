"""From a TOML file and overrides to an experiment."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import tomli_w
from pydantic import ValidationError

from rbm_training.config.base import ConfigError, FrozenConfig
from rbm_training.config.experiment import ExperimentConfig
from rbm_training.config.messages import in_words
from rbm_training.config.paths import with_absolute_paths

AnyConfig = TypeVar("AnyConfig", bound=FrozenConfig)


def load_config(
    path: Path, overrides: Sequence[str] = (), relative_to: Path | None = None
) -> ExperimentConfig:
    """Read an experiment and apply overrides, as `read_document` does.

    Raises:
        ConfigError: the file is not TOML, or a key or value is not one; says where and what.
    """
    return validated(ExperimentConfig, read_document(path, overrides, relative_to), path)


def validated(kind: type[AnyConfig], document: Mapping[str, Any], source: object) -> AnyConfig:
    """The record that a document describes.

    Raises:
        ConfigError: a key or value is not one; says where in the source, and what.
    """
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        raise ConfigError(f"{source}: {in_words(error, kind, document)}") from error


def as_toml(config: ExperimentConfig) -> str:
    """The resolved experiment, complete, its paths absolute: the file may lie anywhere."""
    document = config.model_dump(mode="json", exclude_none=True)
    return tomli_w.dumps(with_absolute_paths(document, Path.cwd()))


def read_document(
    path: Path, overrides: Sequence[str] = (), relative_to: Path | None = None
) -> dict[str, Any]:
    """The tables of a TOML file, with `key.path=value` overrides applied, of which a value is TOML, else a
    string. Paths are absolute: those of overrides are relative to the working directory.

    Args:
        relative_to: the folder of relative paths in the file; None for the file's own.

    Raises:
        ConfigError: the file is not TOML, or an override is none.
    """
    if path.is_dir():
        raise ConfigError(f"{path}: found a folder; wanted a TOML file{_written_in(path)}")
    try:
        document = tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: no TOML, which is text in UTF-8: {error}") from error
    document = with_absolute_paths(document, relative_to or path.parent)
    for override in overrides:
        _apply(document, override)
    return with_absolute_paths(document, Path.cwd())


def _written_in(folder: Path) -> str:
    """Which file of a folder may be meant, or how to have one written."""
    found = sorted(path for path in folder.iterdir() if path.suffix == ".toml")
    return f", as {found[0]}" if found else f"; `rbm-train init {folder}` writes one for the graph in it"


def _apply(document: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise ConfigError(f"--set {override!r}: found no KEY=VALUE")
    *parents, last = key.strip().split(".")
    for parent in parents:
        document = document.setdefault(parent, {})
        if not isinstance(document, dict):
            raise ConfigError(f"--set {override!r}: {parent!r} is a value, not a table")
    document[last] = _value(text.strip())


def _value(text: str) -> Any:  # noqa: ANN401 - whatever TOML can say
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
