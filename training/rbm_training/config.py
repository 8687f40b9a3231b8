"""The experiment: one frozen record, read from TOML, every field explained beside it."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

from rbm_bundle.manifest import NAME_PATTERN, FeatureScaling, Setting

Probability = Annotated[float, Field(ge=0, lt=1)]
Weight = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Name = Annotated[str, Field(pattern=NAME_PATTERN)]


class ConfigError(Exception):
    """An experiment that cannot be run as written."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class DatasetConfig(_Part):
    """Which graph, and which of its nodes are learnt from, validated on, tested and held out."""

    kind: Literal["digits", "files", "named", "synthetic"] = "digits"
    """`digits`: handwritten digits that ship with scikit-learn; `files`: your own graph; `named`: a public
    benchmark; `synthetic`: a generated graph for tests."""
    name: str | None = None
    """Name of a `named` set; `rbm-train datasets` lists them."""
    root: Path = Path("data")
    """Folder of `named` sets: `<root>/<name>.npz` is read when it is there; else the files as their
    publishers give them, downloaded into it once."""
    path: Path | None = None
    """Your own graph, for kind `files`: an `.npz`, or a folder with `nodes.parquet`, `edges.parquet` and
    `labels.parquet`; `datasets/npz.py` and `datasets/parquet.py` explain every array and column."""
    setting: Setting = "transductive"
    """`inductive` holds nodes out of graph, positions, teacher and distillation; they are the test nodes."""
    train_per_class: Count = 20
    """Labels a class to learn from, where the data brings no split of its own."""
    val_per_class: Count = 30
    """Labels a class to select on, where the data brings no split of its own."""
    unseen_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Inductive: share of the nodes outside training and validation that is held out. A published test
    mask is held out whole."""

    @model_validator(mode="after")
    def _source_is_named(self) -> "DatasetConfig":
        if self.kind == "files" and self.path is None:
            raise ValueError("dataset.kind 'files' needs dataset.path, the .npz or folder of your graph")
        if self.kind == "named" and self.name is None:
            raise ValueError("dataset.kind 'named' needs dataset.name")
        for field, value, kind in (("path", self.path, "files"), ("name", self.name, "named")):
            if value is not None and self.kind != kind:
                raise ValueError(
                    f"found dataset.{field} with dataset.kind = {self.kind!r}, which does not read it;"
                    f" wanted dataset.kind = {kind!r}"
                )
        return self


class ScalingConfig(_Part):
    """How raw inputs are scaled; part of the student and of its graphs, so callers send raw features."""

    features: FeatureScaling = "l2"
    """`l2`: rows of norm 1; `standardised`: zero mean and unit deviation a column, over observed nodes, for
    features of which more than an eighth is non-zero; `none`: as they are."""
    position_norm: Annotated[float, Field(gt=0)] | Literal["none"] = 0.5
    """Norm that every non-zero row of positions is given; `none` keeps the encoder's own scale."""


class TeacherConfig(_Part):
    """The GraphSAGE-gcn teacher (Hamilton et al. 2017) and its training."""

    kind: Literal["sage"] = "sage"
    """Train this teacher."""
    num_layers: Count = 2
    """Layers, and so the radius of the neighbourhood that counts."""
    hidden: Count = 128
    """Width of the hidden layers."""
    dropout: Probability = 0.5
    """Before every layer but the first."""
    learning_rate: Annotated[float, Field(gt=0)] = 0.01
    """Of Adam."""
    weight_decay: Weight = 5e-4
    """Of Adam, coupled."""
    max_epochs: Count = 500
    """Full-batch steps at most."""
    patience: Count = 50
    """Epochs without a better validation before training stops."""


class PrecomputedTeacherConfig(_Part):
    """The saved answers of any GNN, from any framework; nothing is trained."""

    kind: Literal["precomputed"]
    """Read the teacher's answers from a file."""
    logits: Path
    """An `.npz` with `logits` (N, C) and, if you like, `node_ids` (N,) by which rows find their nodes; or an
    `.npy` (N, C). Without ids the rows are the nodes in the order of the dataset's source. Columns are the
    classes in the order in which `rbm-train datasets FILE` names them."""


def _teacher_kind(teacher: object) -> object:
    return teacher.get("kind", "sage") if isinstance(teacher, dict) else getattr(teacher, "kind", None)


AnyTeacherConfig = Annotated[
    Annotated[TeacherConfig, Tag("sage")] | Annotated[PrecomputedTeacherConfig, Tag("precomputed")],
    Discriminator(
        _teacher_kind,
        custom_error_type="teacher_kind",
        custom_error_message="teacher.kind should be 'sage' or 'precomputed'",
    ),
]


class PositionsConfig(_Part):
    """Positional encodings: DeepWalk (Perozzi et al. 2014), random walks read by a skip-gram model."""

    kind: Literal["deepwalk", "none"] = "deepwalk"
    """`none`: the student sees features alone."""
    width: Count = 64
    """P, the length of an encoding."""
    walk_length: Count = 50
    """Nodes in a walk."""
    walks_per_node: Count = 5
    """Walks that start at each node."""
    window: Count = 5
    """How far apart in a walk two nodes still see each other."""
    epochs: Count = 1
    """Passes of the skip-gram model over all walks."""


class StudentConfig(_Part):
    """The RbM student: L layers of E linear experts, K of which see a row."""

    num_layers: Count = 2
    """L, routed layers."""
    hidden: Count = 128
    """Width of the hidden layers."""
    num_experts: Count = 4
    """E, experts of each layer."""
    experts_per_row: Count = 2
    """K, experts that a row is sent to."""
    dropout: Probability = 0.3
    """Before every layer, the input included."""
    input_gains: bool = False
    """Learn a gain per expert and input column."""

    @model_validator(mode="after")
    def _enough_experts(self) -> "StudentConfig":
        if self.experts_per_row > self.num_experts:
            raise ValueError(
                f"student.experts_per_row = {self.experts_per_row} exceeds num_experts = {self.num_experts}"
            )
        return self


class RoutingConfig(_Part):
    """What shapes the routing memory."""

    commitment: Weight = 0.05
    """Weight of the pull of inputs towards the memories they are routed to."""
    self_similarity: Weight = 0.01
    """Size of the push of memories away from each other, once a step."""
    load_balance: Weight = 0.01
    """Weight of the squared variation of the load over experts."""
    momentum: Annotated[float, Field(ge=0, le=1)] = 0.9
    """γ, the part of the old memory that a step keeps; 1 freezes the memory."""
    revive_after: Count = 10
    """Steps without a single row after which an expert is moved to the worst-served input."""


class DistillConfig(_Part):
    """How the student learns from labels and teacher."""

    hard_label_weight: Annotated[float, Field(ge=0, le=1)] = 0.2
    """λ: weight of the labels; the teacher gets 1 − λ."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """τ of the distillation targets."""
    pairs: Literal["auto", "reliable", "self"] = "auto"
    """`reliable` also matches each node to reliable neighbours (KRD, Wu et al. 2023); `self` only to
    itself; `auto` is `reliable` up to a mean degree of 10, above which it was measured to harm, and `self`
    with a precomputed teacher, which cannot be asked how noise moves it."""
    learning_rate: Annotated[float, Field(gt=0)] = 0.01
    """Of Adam."""
    weight_decay: Weight = 5e-4
    """Of Adam, coupled."""
    warmup_epochs: Annotated[int, Field(ge=0)] = 12
    """Epochs in which a single expert learns before the memory is laid out and the experts are cloned."""
    max_epochs: Count = 500
    """Epochs after the switch to routing."""
    patience: Count = 50
    """Epochs without a better validation, counted from the switch."""
    batch_rows: Count | None = None
    """Rows a forward pass takes; unset: all. One optimiser step an epoch either way."""


class ExportConfig(_Part):
    """What goes into the bundle besides the student."""

    name: Name | None = None
    """Name of the model; unset: the experiment's."""
    cache_features: bool = True
    """Store the features of known nodes, so that an id alone suffices in a request."""


class ExperimentConfig(_Part):
    """One experiment, whole."""

    name: Name
    """Names the run and, unless `export.name` says otherwise, the model."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    """One whole run each; accuracies are means, the seed best on validation is exported."""
    num_threads: Count = 2
    """Threads torch computes with; part of the experiment, since sums depend on it to the last bit."""
    compat: Literal["released"] | None = None
    """`released`: train as the paper's released code does where that changes results (docs/method.md, "What
    the released code does otherwise"); to compare with, not to use."""
    dataset: DatasetConfig = DatasetConfig()
    scaling: ScalingConfig = ScalingConfig()
    teacher: AnyTeacherConfig = TeacherConfig()
    """`kind = "sage"`, the default, trains one; `kind = "precomputed"` reads saved logits."""
    positions: PositionsConfig = PositionsConfig()
    student: StudentConfig = StudentConfig()
    routing: RoutingConfig = RoutingConfig()
    distill: DistillConfig = DistillConfig()
    export: ExportConfig = ExportConfig()

    @model_validator(mode="after")
    def _seeds_differ(self) -> "ExperimentConfig":
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(
                f"seeds = {list(self.seeds)} names a seed twice; a deviation needs different runs"
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


def load_config(path: Path, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """Read an experiment and apply `key.path=value` overrides; a value is TOML, else a string.

    Raises:
        ConfigError: the file is not TOML, or a key or value is not one; says where and what.
    """
    try:
        document = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: no TOML: {error}") from error
    for override in overrides:
        _apply(document, override)
    try:
        return ExperimentConfig.model_validate(document)
    except ValidationError as error:
        raise ConfigError(f"{path}: {_first_lines(error)}") from error


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


def _first_lines(error: ValidationError) -> str:
    parts = []
    for issue in error.errors():
        place = ".".join(str(part) for part in issue["loc"])
        found = "" if issue["type"] in ("missing", "value_error") else f" (found {issue['input']!r})"
        parts.append(f"{place or 'experiment'}: {issue['msg']}{found}")
    return "; ".join(parts)
