"""What a comparison consists of: datasets × protocols × settings × seeds × methods, each an experiment."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, get_args

from pydantic import Field, model_validator

from rbm_bundle.manifest_parts import Setting
from rbm_training.benchmark.grid import GRID, Points, check_grid, is_possible, points_of
from rbm_training.benchmark.paper import paper_settings
from rbm_training.benchmark.records import OLD_PROTOCOLS, Protocol, RunIdentity
from rbm_training.config import ExperimentConfig
from rbm_training.config.base import FrozenConfig, MethodName, Name, Seed, merged
from rbm_training.config.loading import read_document, validated
from rbm_training.config.methods import METHODS
from rbm_training.errors import suggestion

EXPERIMENTS: Final = Path(__file__).parents[2] / "experiments"
OF_METHOD: Final = ("like", "settings")
"""Keys of a method's table that are no fields of an experiment."""
SETTINGS: Final = ("paper", "own")
AS_PUBLISHED: Final = ("mlp-flops", "mlp-wide", "moe", "rbm", "released-mlp", "released-rbm")


class ComparisonConfig(FrozenConfig):
    """Which methods are compared, and on what."""

    old_values: ClassVar = {"protocols": OLD_PROTOCOLS}

    datasets: Annotated[tuple[Name, ...], Field(min_length=1)]
    """Named sets, read as `<data_root>/<name>.npz` or from their publisher. A set runs on the experiment of
    its name and setting, `<name>-<setting>.toml`, else of its name, `<name>.toml`, else on the defaults."""
    methods: Annotated[tuple[str, ...], Field(min_length=1)] = get_args(MethodName)
    """Students, by name: those of the literature and those that `[method.NAME]` describes. Others that are
    known are `released-rbm` and `released-mlp`, trained as the paper's released code does."""
    settings: Annotated[tuple[Setting, ...], Field(min_length=1)] = ("transductive",)
    """Whether test nodes are in the graph that is learnt from."""
    protocols: Annotated[tuple[Protocol, ...], Field(min_length=1)] = ("public",)
    """`public`: the published split, or where there is none 20 + 30 nodes a class on the largest component;
    `cpf`: the latter everywhere."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    """One run each."""
    data_root: Path = Path("data")
    """Folder of the datasets."""
    experiments: Path = EXPERIMENTS
    """Folder of the experiments."""
    latency: bool = False
    """Time the exported graphs of the first seed when all runs have ended."""
    experiment: dict[str, Any] = Field(default_factory=dict)
    """Fields that all runs have otherwise than their experiment says, as in `[experiment.teacher]`."""
    method: dict[Name, dict[str, Any]] = Field(default_factory=dict)
    """Fields that one method has otherwise, as in `[method.rbm.student]`. With `like = "rbm"` a new method is
    described, to be named in `methods`. `settings = "paper"` takes the hyper-parameters that the RbM paper
    has for a data set, where it has some, and `"own"` those of the data set's experiment and the defaults.
    `rbm`, `moe`, `mlp-flops`, `mlp-wide` and the released ones have the paper's unless they say otherwise.
    With `grid = { "student.hidden" = [4, 16], "student.top_k" = [1, 2] }` the method stands for one at each
    point, `rbm H=4 K=1` and so on; points of more experts a row than there are experts are left out."""

    @model_validator(mode="after")
    def _methods_are_known(self) -> "ComparisonConfig":
        for name in (*self.methods, *self.method):
            like = self.like(name)
            if like not in METHODS:
                known = METHODS if name in self.method else [*METHODS, *self.method]
                raise ValueError(
                    f"found method {like!r}; wanted one of {', '.join(METHODS)}, or a table"
                    f" [method.{name}] with `like` one of them{suggestion(like, known)}"
                )
            if (settings := self.settings_of(name)) not in SETTINGS:
                wanted = " or ".join(map(repr, SETTINGS))
                raise ValueError(f"found method.{name}.settings = {settings!r}; wanted {wanted}")
            if GRID in self.method.get(name, {}):
                check_grid(name, self.method[name][GRID])
        return self

    def like(self, method: str) -> str:
        """The known method that a method is, or changes."""
        return str(self.method.get(method, {}).get("like", method))

    def settings_of(self, method: str) -> str:
        """Whose hyper-parameters a method has: `paper` or `own`."""
        default = "paper" if self.like(method) in AS_PUBLISHED else "own"
        return str(self.method.get(method, {}).get("settings", default))

    def with_points(self) -> "ComparisonConfig":
        """The comparison with the possible points of a grid in place of the method that has it."""
        points = {name: table for name, table in self._points().items() if is_possible(table)}
        return self.model_copy(update={"methods": tuple(points), "method": points})

    def left_out(self) -> list[str]:
        """Points of grids that cannot be."""
        return [name for name, table in self._points().items() if not is_possible(table)]

    def _points(self) -> Points:
        found = [points_of(name, self.method.get(name, {})) for name in self.methods]
        return {name: table for points in found for name, table in points.items()}


def load_comparison(path: Path, overrides: Sequence[str] = ()) -> ComparisonConfig:
    """Read a comparison.

    Raises:
        ConfigError: the file is not TOML, or a key or value is not one; says where and what.
    """
    return validated(ComparisonConfig, read_document(path, overrides), path)


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One run: what it is, the experiment that it is, and whether its student is to be timed."""

    identity: RunIdentity
    experiment: ExperimentConfig
    is_timed: bool = False


def plan(config: ComparisonConfig) -> list[PlannedRun]:
    """All runs of a comparison, those that share a teacher next to each other.

    Raises:
        ConfigError: an experiment that cannot be run as written.
    """
    config = config.with_points()
    sources = itertools.product(config.datasets, config.settings)
    documents = {source: _experiment_of(config, *source) for source in sources}
    cells = itertools.product(
        config.datasets, config.protocols, config.settings, config.seeds, config.methods
    )
    return [_planned(config, documents[cell[0], cell[2]], *cell) for cell in cells]


def _experiment_of(config: ComparisonConfig, dataset: str, setting: Setting) -> dict[str, Any]:
    for name in (f"{dataset}-{setting}", dataset):
        path = config.experiments / f"{name}.toml"
        if path.is_file():
            return read_document(path)
    return {}


def _planned(
    config: ComparisonConfig,
    document: dict[str, Any],
    dataset: str,
    protocol: Protocol,
    setting: Setting,
    seed: int,
    method: str,
) -> PlannedRun:
    known = METHODS[config.like(method)]
    own = {key: value for key, value in config.method.get(method, {}).items() if key not in OF_METHOD}
    is_as_published = config.settings_of(method) == "paper"
    published = paper_settings(dataset, setting, known["student"]) if is_as_published else {}
    source = {
        "kind": "named",
        "name": dataset,
        "root": config.data_root,
        "setting": setting,
        "split": "random" if protocol == "cpf" else "published",
    }
    fixed = {"name": dataset, "seeds": [seed], "num_threads": 1, "dataset": source}
    whole = merged(document, published, config.experiment, known, own, fixed)
    experiment = validated(ExperimentConfig, whole, f"method {method!r} on {dataset!r}")
    identity = RunIdentity(dataset, protocol, setting, experiment.teacher.name, method, seed)
    return PlannedRun(identity, experiment, is_timed=config.latency and seed == config.seeds[0])
