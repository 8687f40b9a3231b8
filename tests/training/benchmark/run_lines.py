"""Lines of a comparison, made up, and the cells of what is rendered from them."""

from hashlib import sha256
from typing import Any

from rbm_training.benchmark.records import RunLine, production_accuracy
from rbm_training.benchmark.tables import TIED

HIGH, LOW = [0.90, 0.91, 0.90], [0.80, 0.81, 0.81]
"""Test accuracies by seed whose difference is decided."""

PLAIN: dict[str, Any] = {
    "dataset": "cora",
    "protocol": "public",
    "setting": "transductive",
    "teacher": "sage",
    "method": "rbm",
    "seed": 0,
    "val_accuracy": 0.8,
    "test_accuracy": 0.82,
    "test_accuracy_max": 0.83,
    "unseen_accuracy": None,
    "observed_test_accuracy": None,
    "production_accuracy": None,
    "teacher_val_accuracy": 0.81,
    "teacher_test_accuracy": 0.81,
    "num_parameters": 184_000,
    "flops_per_node": 368_000,
    "seconds": 12.5,
    "git_commit": "0123456789abcdef",
    "release": "1.2.3",
    "data_digest": "d" * 16,
    "agreement": 0.9,
    "kl": 0.125,
}


def run_line(**changes: Any) -> RunLine:
    """A transductive run, with what is to be different."""
    line = {**PLAIN, **changes}
    return RunLine(**{"config_digest": digest_of(line["method"]), **line})


def digest_of(configuration: str) -> str:
    """A digest, another for each configuration."""
    return sha256(configuration.encode()).hexdigest()[:16]


def inductive_line(unseen: float, observed_test: float | None, **changes: Any) -> RunLine:
    """An inductive run of these accuracies."""
    accuracies = {
        "test_accuracy": unseen,
        "unseen_accuracy": unseen,
        "observed_test_accuracy": observed_test,
        "production_accuracy": production_accuracy(unseen, observed_test),
    }
    return run_line(setting="inductive", **accuracies, **changes)


def runs_of(method: str, test_accuracies: list[float], **changes: Any) -> list[RunLine]:
    """Runs of one method over seeds 0, 1, ..."""
    return [
        run_line(method=method, seed=seed, test_accuracy=accuracy, **changes)
        for seed, accuracy in enumerate(test_accuracies)
    ]


def untied(text: str) -> str:
    """A rendered text with plain spaces."""
    return text.replace(TIED, " ")


def cells_of(text: str) -> list[list[str]]:
    """Cells of every table row of a rendered text, without the rule under a header."""
    rows = [row for row in untied(text).splitlines() if row.startswith("| ") and not row.startswith("| ---")]
    return [row[2:-2].split(" | ") for row in rows]
