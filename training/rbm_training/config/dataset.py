"""What a run reads, and how it scales it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field, model_validator

from rbm_bundle.manifest_parts import FeatureScaling, Setting
from rbm_training.config.base import Count, FrozenConfig

Fraction = Annotated[float, Field(gt=0, lt=1)]
PER_CLASS: Final = {"train_per_class": 20, "val_per_class": 30}
FRACTIONS: Final = {"train_fraction": 0.6, "val_fraction": 0.2}


class DatasetConfig(FrozenConfig):
    """Which graph, and which of its nodes are learnt from, validated on, tested and held out."""

    old_values: ClassVar = {"split": {"drawn": "random"}}

    kind: Literal["digits", "files", "named", "synthetic"] = "digits"
    """`digits`: handwritten digits that ship with scikit-learn; `files`: your own graph; `named`: a public
    benchmark; `synthetic`: a generated graph for tests."""
    name: str | None = None
    """Name of a `named` set; `rbm-train datasets` lists them."""
    root: Path = Path("data")
    """Folder of `named` sets: `<root>/<name>.npz` is read when it is there; else the files as their
    publishers give them, downloaded into it once. The default is relative to the working directory."""
    path: Path | None = None
    """Your own graph, for kind `files`: a folder of tables, Parquet or CSV, an `.npz`, a `.pt` of PyTorch
    Geometric, a `.graphml`, or a node-link `.json`; docs/own-graph.md explains each."""
    split: Literal["published", "random"] = "published"
    """`published`: the one that came with the graph; where there is none, and with `random`, labels are drawn
    from each class with the seed, as many as below. A `named` set without a published split, or with
    `random`, is cut to its largest connected component, as its papers do."""
    setting: Setting = "transductive"
    """`inductive` holds nodes out of graph, positions, teacher and distillation; they are the test nodes."""
    train_per_class: Count | None = None
    """Labels a class to learn from, where the data brings no split of its own; with `val_per_class` instead
    of fractions. Unset: 20, as benchmarks are used, but for kind `files`."""
    val_per_class: Count | None = None
    """Labels a class to select on, where the data brings no split of its own. Unset: 30, but for `files`."""
    train_fraction: Fraction | None = None
    """Share of each class's labels to learn from, where the data brings no split of its own. Unset: 0.6 for
    kind `files`."""
    val_fraction: Fraction | None = None
    """Share of each class's labels to select on, where the data brings no split of its own, or one without
    validation nodes. Unset: 0.2 for kind `files`."""
    group_column: str | None = None
    """Kind `files`: divide nodes by this column of `nodes` or `labels`, or array or attribute of that name:
    all labelled nodes of one value, as of one customer, are learnt from, or selected on, or tested. The seed
    draws the groups, near to the fractions of all labels. The column is no feature unless `features.columns`
    names it."""
    time_column: str | None = None
    """Kind `files`: divide nodes by this column, of numbers, dates, times or strings as 2024-05-31: the
    oldest labelled nodes are learnt from, the newest tested, near to the fractions of all labels; what is as
    old stays together. No feature, as above."""
    min_class_labels: Count | None = None
    """Take all classes of fewer labels for one, `other`. Unset: every class is learnt, however rare."""
    class_weights: Literal["none", "balanced"] | dict[str, Annotated[float, Field(gt=0)]] = "none"
    """What the true labels of a class weigh in the losses of teacher, student and logistic regression:
    `balanced`, N / (C n) for n of the N training labels in C classes; or a table of weights by class, 1 for a
    class that is not in it. The teacher's answers are not weighted, and selection is by plain accuracy."""
    unseen_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Inductive: share of the nodes outside training and validation that is held out: drawn, or whole groups,
    or the newest. A published test mask is held out whole."""
    pseudo_unseen_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Inductive: share of the validation nodes that is held out of graph, positions, teacher and distillation
    as well, so that selection sees how a student answers for nodes it has never met."""

    @property
    def split_column(self) -> str | None:
        """The column that nodes are divided by, if they are."""
        return self.group_column or self.time_column

    @model_validator(mode="before")
    @classmethod
    def _labels_are_shared_out(cls, given: object) -> object:
        """Fill in by what kind of numbers, and by which, so that a resolved experiment says it."""
        if not isinstance(given, Mapping):
            return given
        asked = {name: given[name] for name in (*PER_CLASS, *FRACTIONS) if given.get(name) is not None}
        if asked.keys() & PER_CLASS.keys() and asked.keys() & FRACTIONS.keys():
            raise ValueError(f"found both {' and '.join(asked)}; wanted labels a class or fractions of them")
        by_fractions = bool(asked.keys() & FRACTIONS.keys()) or (given.get("kind") == "files" and not asked)
        return {**given, **(FRACTIONS if by_fractions else PER_CLASS), **asked}

    @model_validator(mode="after")
    def _some_labels_are_left_to_test(self) -> "DatasetConfig":
        train, val = self.train_fraction, self.val_fraction
        if train is not None and val is not None and train + val >= 1:
            raise ValueError(
                f"found dataset.train_fraction = {train} and dataset.val_fraction = {val}; wanted a sum below"
                " 1, so that labels are left to test on"
            )
        return self

    @model_validator(mode="after")
    def _source_is_named(self) -> "DatasetConfig":
        if self.kind == "files" and self.path is None:
            raise ValueError("dataset.kind 'files' needs dataset.path, the file or folder of your graph")
        if self.kind == "named" and self.name is None:
            raise ValueError("dataset.kind 'named' needs dataset.name")
        of_kind = {"path": "files", "group_column": "files", "time_column": "files", "name": "named"}
        for field, kind in of_kind.items():
            if getattr(self, field) is not None and self.kind != kind:
                raise ValueError(
                    f"found dataset.{field} with dataset.kind = {self.kind!r}, which does not read it;"
                    f" wanted dataset.kind = {kind!r}"
                )
        return self

    @model_validator(mode="after")
    def _a_column_divides_by_fractions(self) -> "DatasetConfig":
        if self.group_column is not None and self.time_column is not None:
            raise ValueError("found both dataset.group_column and dataset.time_column; wanted one of them")
        if self.split_column is not None and self.train_fraction is None:
            field = "group_column" if self.group_column is not None else "time_column"
            raise ValueError(
                f"found dataset.{field} with dataset.train_per_class = {self.train_per_class}; wanted"
                " dataset.train_fraction and dataset.val_fraction, shares of all labels"
            )
        return self


class ScalingConfig(FrozenConfig):
    """How raw inputs are scaled; part of the student and of its graphs, so callers send raw features."""

    features: FeatureScaling | Literal["auto"] = "l2"
    """`l2`: rows of norm 1; `standardised`: zero mean and unit deviation a column, over observed nodes, which
    makes sparse features dense; `none`: as they are; `auto`, the default with `dataset.kind = "files"`:
    `standardised` for numbers of very different scales, of which rows of norm 1 would hold little but the
    largest, else `l2`."""
    position_norm: Annotated[float, Field(gt=0)] | Literal["none"] = 0.5
    """Norm that every non-zero row of positions is given; `none` keeps the encoder's own scale."""
