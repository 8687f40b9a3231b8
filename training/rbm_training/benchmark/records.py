"""What a comparison measured: one JSON line a run, in a file that survives being killed at any moment."""

import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from rbm_bundle.folders import replace_file
from rbm_bundle.manifest import NAME_PATTERN
from rbm_bundle.manifest_parts import Setting
from rbm_training.config.base import Name, Seed
from rbm_training.errors import TrainingError
from rbm_training.evaluation.metrics import production_accuracy

Protocol = Literal["cpf", "public"]
OLD_PROTOCOLS: Final = {"A": "cpf", "B": "public"}  # as earlier files of results have them
OLD_METHODS: Final = {"rbm": "rbm-head", "mlp-flops": "mlp-flops-head", "mlp-wide": "mlp-wide-head"}
"""What lines without a digest call a student with experts in the last layer alone, and the MLPs of its
costs."""
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
Accuracy = Annotated[float, Field(ge=0, le=1)]
Method = Annotated[str, Field(pattern=rf"{NAME_PATTERN.removesuffix('$')}( \w+=\S+)*$")]
"""The name of a method, and where it is a point of a grid, which one: `rbm H=4 E=8`."""


class ResultsError(TrainingError):
    """A file of results that cannot be read; says where, what was found and what was wanted."""

    def __init__(self, path: Path, line_number: int, found: str, wanted: str) -> None:
        super().__init__(f"{path}, line {line_number}: found {found}; wanted {wanted}")


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """What makes a run this run and no other: a comparison that is taken up again skips those it has."""

    dataset: str
    protocol: Protocol
    setting: Setting
    teacher: str
    method: str
    seed: int

    @property
    def cell(self) -> tuple[str, Protocol, Setting, str, int]:
        """What all methods that learn from one teacher on one split have in common."""
        return self.dataset, self.protocol, self.setting, self.teacher, self.seed

    def __str__(self) -> str:
        place = f"{self.dataset} {self.protocol} {self.setting}, teacher {self.teacher}, seed {self.seed}"
        return f"{self.method} on {place}"


class RunLine(BaseModel):
    """One student of one seed, and its teacher.

    Accuracies are 0..1, read at the epoch of best validation; `test_accuracy_max` is the highest of any
    epoch. Null where there is no such thing: transductive runs have no unseen nodes; an inductive run whose
    test nodes are all unseen has neither observed test nodes nor a production accuracy. `flops_per_node`
    counts one answer, a multiply-add as two; `seconds` is the wall time of the run; `git_commit` is that of
    the code that ran, null where that was no checkout.

    `agreement` is the share of all nodes on which student and teacher agree, `kl` the mean divergence of the
    student's probabilities from the teacher's there, in nats. `config_digest` is that of the resolved
    experiment, `planned_digest` that of the experiment as the comparison's file has it, `data_digest` that
    of the graph. Lines of earlier releases have none of these, nor a `release`. `sparse_flops_per_node`
    counts of sparse features those that are not zero. `latency_us_1` and `latency_us_128` are microseconds a
    row of the exported graph, for a row alone and in batches of 128, where a comparison asked for it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    dataset: Name
    protocol: Annotated[Protocol, BeforeValidator(lambda name: OLD_PROTOCOLS.get(name, name))]
    setting: Setting
    teacher: Name
    method: Method
    seed: Seed
    val_accuracy: Accuracy
    test_accuracy: Accuracy
    test_accuracy_max: Accuracy | None
    unseen_accuracy: Accuracy | None
    observed_test_accuracy: Accuracy | None
    production_accuracy: Accuracy | None
    teacher_val_accuracy: Accuracy
    teacher_test_accuracy: Accuracy
    num_parameters: Annotated[int, Field(ge=1)]
    flops_per_node: Annotated[int, Field(ge=0)]
    seconds: Annotated[float, Field(ge=0)]
    git_commit: str | None
    release: str | None = None
    config_digest: Digest | None = None
    planned_digest: Digest | None = None
    data_digest: Digest | None = None
    agreement: Accuracy | None = None
    kl: float | None = None
    sparse_flops_per_node: Annotated[int, Field(ge=0)] | None = None
    latency_us_1: Annotated[float, Field(gt=0)] | None = None
    latency_us_128: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _named_as_now(cls, given: Any) -> Any:  # noqa: ANN401 - whatever the line says
        """A method of an earlier release by the name that it has now."""
        if not isinstance(given, dict) or given.get("config_digest") is not None:
            return given
        method = given.get("method")
        return {**given, "method": OLD_METHODS[method]} if method in tuple(OLD_METHODS) else given

    @property
    def identity(self) -> RunIdentity:
        """The key by which a run is known to be done."""
        return RunIdentity(self.dataset, self.protocol, self.setting, self.teacher, self.method, self.seed)

    @model_validator(mode="after")
    def _accuracies_fit_the_setting(self) -> Self:
        if self.setting == "transductive":
            self._refuse_inductive_accuracies()
        else:
            self._check_inductive_accuracies()
        return self

    def _refuse_inductive_accuracies(self) -> None:
        for name in ("unseen_accuracy", "observed_test_accuracy", "production_accuracy"):
            if getattr(self, name) is not None:
                raise ValueError(f"{name} {getattr(self, name)} in a transductive run, which has none")

    def _check_inductive_accuracies(self) -> None:
        if self.unseen_accuracy != self.test_accuracy:
            raise ValueError(
                f"unseen_accuracy {self.unseen_accuracy} beside test_accuracy {self.test_accuracy};"
                " the test nodes of an inductive run are the unseen ones"
            )
        expected = production_accuracy(self.test_accuracy, self.observed_test_accuracy)
        found = self.production_accuracy
        if expected is None or found is None:
            agree = expected is found
        else:
            agree = math.isclose(found, expected, abs_tol=1e-6)
        if not agree:
            raise ValueError(f"production_accuracy {found}; unseen and observed test nodes give {expected}")


class ResultsFile:
    """Runs in the order in which they ended. One process writes; lines it has written are on disk.

    A process killed while it writes leaves a last line without its line break. That line is dropped on
    reading and cut off before the next is written, so its run counts as not done.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> list[RunLine]:
        """Every whole line; nothing when there is no file.

        Raises:
            ResultsError: a whole line that is no run, or a run that is there twice.
        """
        raw = self._path.read_bytes() if self._path.exists() else b""
        numbers: dict[RunIdentity, int] = {}
        lines = []
        for number, line in self._parse(raw[: _end_of_whole_lines(raw)]):
            if line.identity in numbers:
                found = f"the run of line {numbers[line.identity]} again ({line.identity})"
                raise ResultsError(self._path, number, found, "every run once")
            numbers[line.identity] = number
            lines.append(line)
        return lines

    def append(self, line: RunLine) -> None:
        """Write a run behind the others and wait until the disk has it."""
        with self._path.open("a+b") as file:
            file.seek(0)
            file.truncate(_end_of_whole_lines(file.read()))
            file.write(line.model_dump_json().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def rewrite(self, lines: Iterable[RunLine]) -> None:
        """Replace all runs, at once."""
        replace_file(self._path, b"".join(line.model_dump_json().encode() + b"\n" for line in lines))

    def _parse(self, raw: bytes) -> Iterator[tuple[int, RunLine]]:
        for number, text in enumerate(raw.split(b"\n")[:-1], start=1):
            try:
                yield number, RunLine.model_validate_json(text)
            except ValidationError as error:
                first = error.errors()[0]
                place = ".".join(map(str, first["loc"]))
                found = f"{place}: {first['msg']}" if place else first["msg"]
                raise ResultsError(self._path, number, found, "a run as one JSON object") from error


def _end_of_whole_lines(raw: bytes) -> int:
    return raw.rfind(b"\n") + 1
