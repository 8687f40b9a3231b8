"""The linear student: logistic regression on a node's features, which learns from labels alone."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from rbm_training.config import StudentConfig
from rbm_training.students.mlp import PlainKind


class LinearKind(PlainKind):
    """One linear layer, of which positions are no part: the baseline itself, ready to be exported."""

    is_distilled: ClassVar[bool] = False

    def summary(self, student: Mapping[str, Any]) -> str:
        """For the model card."""
        return "logistic regression"

    def widths(
        self, num_inputs: int, num_classes: int, shape: StudentConfig, position_width: int = 0
    ) -> list[int]:
        """[D, C]."""
        return [num_inputs, num_classes]


LINEAR: Final = LinearKind()
