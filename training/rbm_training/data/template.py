"""A first experiment for the graph that lies in a folder."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import tomli_w

from rbm_training.data.graph import GraphError
from rbm_training.data.readers.files import FORMATS, graph_files

EXPERIMENT: Final = "experiment.toml"
_TEXT: Final = """\
# `rbm-train check {file}` says what a run reads, `rbm-train run {file} --out DIR` runs it.
# What is behind a # is the default or an example; docs/experiments.md explains every key.

name = "{name}"                    # of the run and of the model
# seeds = [0, 1, 2]             # one whole run each; the best on validation is exported

[dataset]
kind = "files"
{paths}
# split = "random"              # else the split that comes with the graph, if there is one
# train_fraction = 0.6          # of each class's labels, to learn from where the split is drawn
# val_fraction = 0.2            # to select on; the others are tested on
# time_column = "when"          # learn from the oldest nodes and test on the newest, or:
# group_column = "customer"     # divide no group of nodes
# min_class_labels = 5          # classes of fewer labels are one, "other"
# class_weights = "balanced"    # rare classes count as much as others, in losses on true labels
# setting = "inductive"         # hold nodes out of the graph, to see how new ones are answered

[features]
# columns = {{ note = "text", code = "category", row = "drop" }}  # where columns are taken for something else

[scaling]
# features = "l2"               # or "standardised"; the default, "auto", goes by the scales of the columns

[teacher]
# kind = "gcn"                  # one alone; the default, "auto", is the mean of the best two of several
# kind = "precomputed"          # or saved logits of your own:
# logits = "logits.npz"         # relative to this file

[student]
# kind = "auto"                 # the best of "rbm-head", "mlp" and "linear", or one
# hidden = 128
# max_flops = 20_000            # the most operations that an answer may take: as wide as that allows

[export]
# refit = true                  # after the measurement, learn from all labels and ship that

[report]
# baselines = ["mlp", "moe"]    # trained beside the student, for the page alone
"""


def write_experiment(folder: Path) -> Path:
    """Write `experiment.toml` for the graph in a folder, and return its path.

    Raises:
        GraphError: there is no graph, or an experiment already.
        OSError: the folder cannot be written to.
    """
    if not folder.is_dir():
        raise GraphError(str(folder), "no folder", f"one with {FORMATS}")
    graphs = graph_files(folder)
    path = folder / EXPERIMENT
    if not graphs:
        raise GraphError(str(folder), "no graph", FORMATS)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(_text(folder, [str(graph.relative_to(folder)) for graph in graphs]))
    except FileExistsError as error:
        raise GraphError(str(path), "an experiment", "a folder without one") from error
    return path


def _text(folder: Path, paths: Sequence[str]) -> str:
    """The experiment; of several graphs the first is read, and the others stand behind it."""
    first, *others = [tomli_w.dumps({"path": path}).strip() for path in paths]
    lines = [f"{first:32}# relative to this file", *(f"# {other}" for other in others)]
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", folder.absolute().name).strip("-._") or "graph"
    return _TEXT.format(file=EXPERIMENT, name=name[:64], paths="\n".join(lines))
