"""The experiment: one frozen record, whole."""

import os
from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field, model_validator

from rbm_training.config.base import Count, FrozenConfig, MethodName, Name, Renamed, Seed, merged
from rbm_training.config.dataset import DatasetConfig, ScalingConfig
from rbm_training.config.distill import DistillConfig
from rbm_training.config.features import FeaturesConfig
from rbm_training.config.positions import PositionsConfig
from rbm_training.config.registry import AUTO, import_plugins
from rbm_training.config.student import WHOLE_OF, RoutingConfig, StudentConfig
from rbm_training.config.teacher import AnyTeacherConfig, TeacherConfig

_NOT_IN_RELEASED = (
    *(("student", name) for name in ("metric", "routing_temperature", "routing_input")),
    *(("student", name) for name in ("center_queries", "shared_routing")),
    *(("distill", name) for name in ("pair_weight", "gram", "adversarial", "losses", "step_after")),
    *(("distill", name) for name in ("decoupled_weight_decay", "position_dropout")),
    *(("routing", name) for name in ("memory_init", "memory_step", "clone_noise")),
    ("dataset", "class_weights"),
)
_RELEASED_STUDENTS = ("rbm", "mlp")


def _default(part: FrozenConfig, name: str) -> object:
    return type(part).model_fields[name].default


OWN_GRAPH: Final = {
    "scaling": {"features": AUTO},
    "teacher": {"kind": AUTO},
    "student": {"kind": AUTO},
    "distill": {"hard_label_weight": AUTO, "position_dropout": 0.1},
    "export": {"refit": True},
}
FEW_VALUES = 2_000_000
MOST_THREADS = 8


def num_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0))


class ExportConfig(FrozenConfig):
    """What goes into the bundle besides the student."""

    name: Name | None = None
    """Name of the model; unset: the experiment's."""
    refit: bool = False
    """After the measurement fit once more on all labels and all nodes, and ship that: the default with
    `dataset.kind = "files"`. Where more than 5 % of the nodes are then classified otherwise, what was
    measured is shipped instead."""
    cache_features: bool = True
    """Store the features of known nodes, so that an id alone suffices in a request."""


class ReportConfig(FrozenConfig):
    """What `report.html` shows besides the student and logistic regression."""

    old_names: ClassVar = {"beside": Renamed("baselines")}

    baselines: tuple[MethodName, ...] = ("mlp",)
    """Other students of the exported seed's teacher, trained for the page alone: what the mixture buys at
    which cost and, with `moe`, how its routing compares with a learnt router's."""


class ExperimentConfig(FrozenConfig):
    """One experiment, whole."""

    name: Name
    """Names the run and, unless `export.name` says otherwise, the model."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    """One whole run each; accuracies are means, the seed best on validation is exported."""
    num_threads: Count | None = None
    """Threads that torch, NumPy and SciPy compute with; part of the experiment, since sums depend on it to
    the last bit. Unset: one where feature values (of sparse features, those that are not zero) and a hidden
    layer of all nodes are two million numbers at most, which more would only keep waiting; else as many as
    there are cores, up to eight."""
    plugins: tuple[str, ...] = ()
    """Modules to import before the rest of the experiment is read: they register students, losses, teachers
    and encodings of your own, whose names the fields below then take (docs/contributing-a-student.md)."""
    compat: Literal["released"] | None = None
    """`released`: train as the paper's released code does where that changes results (docs/method.md, "What
    the released code does otherwise"); to compare with, not to use."""
    dataset: DatasetConfig = DatasetConfig()
    features: FeaturesConfig = FeaturesConfig()
    scaling: ScalingConfig = ScalingConfig()
    teacher: AnyTeacherConfig = TeacherConfig()
    """`kind = "sage"`, the default, `"gcn"`, `"gat"` and `"appnp"` train one; `kind = "precomputed"` reads
    saved logits."""
    positions: PositionsConfig = PositionsConfig()
    student: StudentConfig = StudentConfig()
    routing: RoutingConfig = RoutingConfig()
    distill: DistillConfig = DistillConfig()
    export: ExportConfig = ExportConfig()
    report: ReportConfig = ReportConfig()

    @model_validator(mode="before")
    @classmethod
    def _own_graphs_are_unknown(cls, given: object) -> object:
        """Of a benchmark the papers say what suits it; of a graph of one's own only a comparison can."""
        if not isinstance(given, Mapping) or given.get("compat") is not None:
            return given
        dataset = given.get("dataset")
        kind = dataset.get("kind") if isinstance(dataset, Mapping) else getattr(dataset, "kind", None)
        return merged(OWN_GRAPH, given) if kind == "files" else given

    @model_validator(mode="before")
    @classmethod
    def _released_has_experts_everywhere(cls, given: object) -> object:
        """The released code has experts in all layers, whatever the file says."""
        if not isinstance(given, Mapping) or given.get("compat") is None:
            return given
        student = given.get("student", {})
        if not isinstance(student, Mapping):
            return given
        kind = student.get("kind", "rbm")
        whole = {"kind": WHOLE_OF[kind] if kind in tuple(WHOLE_OF) else kind, "moe_layers": "all"}
        others = {name: value for name, value in student.items() if name != "expert_layers"}
        return {**given, "student": {**others, **whole}}

    @model_validator(mode="before")
    @classmethod
    def _import_plugins(cls, given: object) -> object:
        plugins = given.get("plugins") if isinstance(given, Mapping) else None
        if isinstance(plugins, list | tuple):
            import_plugins(name for name in plugins if isinstance(name, str))
        return given

    def threads_for(self, num_nodes: int, num_values: int) -> int:
        """Threads for a graph of so many nodes and feature values."""
        is_small = num_values + num_nodes * self.student.hidden <= FEW_VALUES
        return self.num_threads or (1 if is_small else min(num_cores(), MOST_THREADS))

    @model_validator(mode="after")
    def _seeds_differ(self) -> "ExperimentConfig":
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(
                f"seeds = {list(self.seeds)} names a seed twice; a deviation needs different runs"
            )
        return self

    @model_validator(mode="after")
    def _released_is_plain(self) -> "ExperimentConfig":
        asked = [
            f"{part}.{name} = {value!r}"
            for part, name in _NOT_IN_RELEASED
            if (value := getattr(getattr(self, part), name)) != _default(getattr(self, part), name)
        ]
        if self.student.kind not in _RELEASED_STUDENTS:
            asked.append(f"student.kind = {self.student.kind!r}")
        if isinstance(self.student.num_experts, tuple):
            asked.append("a list in student.num_experts")
        if self.compat == "released" and asked:
            raise ValueError(
                f"found compat = 'released' with {', '.join(asked)}; wanted the RbM student or an MLP, and"
                " the losses of the released code"
            )
        return self

    @model_validator(mode="after")
    def _routing_has_something_to_go_by(self) -> "ExperimentConfig":
        student, start = self.student, self.routing.memory_init
        by_positions = student.reads("routing_input") and student.routing_input == "positions"
        if by_positions and self.positions.kind == "none":
            raise ValueError(
                "found student.routing_input = 'positions' with positions.kind = 'none'; wanted positions to"
                " route by"
            )
        if student.reads("metric") and student.center_queries and start == "spherical":
            raise ValueError(
                "found routing.memory_init = 'spherical' with student.center_queries, whose memories are laid"
                " out before rows are centred; wanted 'kmeans' or 'random'"
            )
        if student.reads("metric") and student.metric == "euclidean" and start == "spherical":
            raise ValueError(
                "found routing.memory_init = 'spherical' with student.metric = 'euclidean', whose memories"
                " are no directions; wanted 'kmeans' or 'random'"
            )
        return self

    @model_validator(mode="after")
    def _memories_have_steps_to_go_by(self) -> "ExperimentConfig":
        if self.routing.memory_step == "optimizer_step" and self.distill.step_after == "epoch":
            raise ValueError(
                "found routing.memory_step = 'optimizer_step' with distill.step_after = 'epoch', which makes"
                " one step an epoch; wanted distill.step_after = 'batch'"
            )
        return self

    @model_validator(mode="after")
    def _losses_have_one_weight(self) -> "ExperimentConfig":
        for table, part in (("distill", self.distill), ("routing", self.routing)):
            for name in self.distill.losses.keys() & type(part).model_fields.keys():
                raise ValueError(f"found distill.losses.{name}; wanted {table}.{name}, its own field")
        return self

    @model_validator(mode="after")
    def _gram_has_a_teacher(self) -> "ExperimentConfig":
        has_hidden_layer = isinstance(self.teacher, TeacherConfig) and self.teacher.num_layers > 1
        if self.distill.gram > 0 and not has_hidden_layer:
            raise ValueError(
                "found distill.gram with a teacher of which no hidden representation is known"
                " (teacher.kind = 'precomputed', or one layer); wanted distill.gram = 0"
            )
        return self

    @model_validator(mode="after")
    def _pairs_have_a_teacher(self) -> "ExperimentConfig":
        if self.distill.pairs == "reliable" and self.teacher.kind == "precomputed":
            raise ValueError(
                "found distill.pairs = 'reliable' with teacher.kind = 'precomputed', which cannot be asked"
                " how noise moves it; wanted distill.pairs = 'self' or 'auto'"
            )
        return self
