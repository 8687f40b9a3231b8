"""The students that an experiment chooses from on validation."""

from typing import Final

from rbm_training.config.experiment import ExperimentConfig
from rbm_training.config.registry import AUTO, auto_students
from rbm_training.config.student import StudentConfig

NUM_EXPERTS: Final = (8, 32)
_CHEAPLY_ROUTED: Final = {
    **{"kind": "rbm", "moe_layers": "all", "top_k": 1},
    **{"shared_routing": True, "routing_input": "positions"},
}


def student_candidates(config: ExperimentConfig) -> list[StudentConfig]:
    """The student of an experiment; of kind `auto`, all that it stands for.

    Under a budget experts in the last layer give way to mixtures whose one router reads positions alone:
    narrow students gain by experts, and a router that reads more costs what they gain.
    """
    student = config.student
    if student.kind != AUTO:
        return [student]
    if student.max_flops is None:
        return [student.of_kind(kind) for kind in auto_students()]
    plain = [student.of_kind(kind) for kind in auto_students() if kind != "rbm-head"]
    sizes = NUM_EXPERTS if config.positions.kind != "none" else ()
    return [*plain, *(student.model_copy(update={**_CHEAPLY_ROUTED, "num_experts": E}) for E in sizes)]
