"""The students, teachers, encodings and losses that an experiment may name; plugins add to them.

A built-in kind is an address, one line, so that reading an experiment imports nothing of what it names. A
plugin registers objects of its own. docs/contributing-a-student.md walks through each.
"""

import hashlib
import importlib
import importlib.util
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic_core import PydanticCustomError

from rbm_training.config.base import ConfigError

AUTO: Final = "auto"
"""In the place of a student or a teacher: several of them, of which the best on validation are kept."""
PRECOMPUTED: Final = "precomputed"
"""In the place of a teacher: none is trained, its logits are read from a file."""


class Registry:
    """Implementations by the name that an experiment gives them.

    Args:
        built_in: addresses, as in `package.module:attribute`, by name.
        reserved: names that mean something else, and so cannot be registered.
    """

    def __init__(self, what: str, built_in: Mapping[str, str], reserved: tuple[str, ...] = ()) -> None:
        self._what = what
        self._reserved = reserved
        self._entries: dict[str, Any] = dict(built_in)

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._entries))

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - each room says what its kinds are
        """The implementation of a name, imported when it is first asked for."""
        entry = self._entries[name]
        return pkgutil.resolve_name(entry) if isinstance(entry, str) else entry

    def register(self, name: str, entry: object) -> None:
        """Add an implementation.

        Raises:
            ConfigError: the name is taken.
        """
        if name in self._entries or name in self._reserved:
            raise ConfigError(f"found a second {self._what} called {name!r}; wanted a name that is not taken")
        self._entries[name] = entry

    def known(self, name: str) -> str:
        """Return a name that is registered or reserved, for a field of the experiment.

        Raises:
            PydanticCustomError: it is neither.
        """
        names = [*self._entries, *self._reserved]
        if name not in names:
            *most, last = map(repr, names)
            expected = f"{', '.join(most)} or {last}"
            raise PydanticCustomError("unknown_kind", "Input should be {expected}", {"expected": expected})
        return name


STUDENTS: Final = Registry(
    "student",
    {
        "rbm-head": "rbm_training.students.rbm.kind:RBM",
        "rbm": "rbm_training.students.rbm.kind:RBM",
        "mlp": "rbm_training.students.mlp:MLP",
        "moe-head": "rbm_training.students.moe:MOE",
        "moe": "rbm_training.students.moe:MOE",
        "mlp-ensemble": "rbm_training.students.mlp_ensemble:MLP_ENSEMBLE",
        "linear": "rbm_training.students.linear:LINEAR",
    },
    reserved=(AUTO,),
)
_COSTLY: Final = ("rbm", "moe-head", "moe", "mlp-ensemble")


def auto_students() -> list[str]:
    """The kinds that `auto` trains: RbM in the last layer, what is simpler, and what plugins register."""
    return [name for name in STUDENTS if name not in _COSTLY]


TEACHERS: Final = Registry(
    "teacher",
    {
        "sage": "rbm_training.teachers.networks:GraphSage",
        "gcn": "rbm_training.teachers.networks:GCN",
        "gat": "rbm_training.teachers.networks:GAT",
        "appnp": "rbm_training.teachers.networks:APPNP",
        "sign": "rbm_training.teachers.without_messages:SIGN",
        "mlp": "rbm_training.teachers.without_messages:Perceptron",
    },
    reserved=(AUTO, PRECOMPUTED),
)
ENCODINGS: Final = Registry(
    "encoding",
    {
        "deepwalk": "rbm_training.encodings.skip_gram:encode_by_walks",
        "node2vec": "rbm_training.encodings.skip_gram:encode_by_walks",
        "laplacian": "rbm_training.encodings.laplacian:encode_by_eigenvectors",
        "propagated": "rbm_training.encodings.propagated_features:encode_by_propagation",
        "none": "rbm_training.encodings.encode:no_positions",
    },
)
LOSSES: Final = Registry(
    "loss",
    {
        "commitment": "rbm_training.distillation.routing_losses:Commitment",
        "load_balance": "rbm_training.distillation.routing_losses:LoadBalance",
        "gram": "rbm_training.distillation.gram:GramLoss",
        "adversarial": "rbm_training.distillation.adversarial:AdversarialLoss",
    },
    reserved=("hard_label", "distillation"),
)


def import_plugins(names: Iterable[str]) -> None:
    """Import the modules in which a user registers kinds of their own; a second time changes nothing.

    Raises:
        ConfigError: one cannot be imported, or registers a name that is taken.
    """
    for name in names:
        try:
            importlib.import_module(name)
        except ConfigError as error:
            raise ConfigError(f"plugin {name!r}: {error}") from error
        except Exception as error:  # whatever the code of one plugin does
            found = f"{type(error).__name__}: {error}"
            raise ConfigError(
                f"found plugin {name!r}, which cannot be imported ({found}); wanted a module on Python's path"
            ) from error


def plugin_digests(names: Iterable[str]) -> dict[str, str]:
    """The SHA-256 of the source of each plugin by its name, of a package that of all modules in it."""
    return {name: _digest(name) for name in names}


def _digest(name: str) -> str:
    spec = importlib.util.find_spec(name)
    assert spec is not None, "the experiment has imported it"
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    modules = sorted(path for folder in folders for path in folder.rglob("*.py"))
    if not folders and spec.origin is not None:
        modules = [Path(spec.origin)]
    digest = hashlib.sha256()
    for module in modules:
        digest.update(module.read_bytes())
    return digest.hexdigest()
