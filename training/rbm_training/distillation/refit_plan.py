"""What a measured fit has found out, for one more fit on all labels and all nodes."""

from dataclasses import dataclass

from rbm_training.teachers.result import MemberFacts


@dataclass(frozen=True, slots=True)
class TeacherPlan:
    """Who is trained again before the student, and for how long.

    `strength` is that of logistic regression, `teacher` the networks that answered together.
    """

    strength: float
    teacher: tuple[MemberFacts, ...]


@dataclass(frozen=True, slots=True)
class RefitPlan(TeacherPlan):
    """Who is trained again, and for how long: nothing is left to select on.

    `temperature` is the student's, `hard_label_weight` what labels weighed for it, and `num_epochs` its
    epochs, one number for each member of an ensemble; none where it is logistic regression.
    """

    num_epochs: tuple[int, ...]
    temperature: float
    hard_label_weight: float

    def before_student(self) -> TeacherPlan:
        """The part that baseline, teacher and positions depend on."""
        return TeacherPlan(self.strength, self.teacher)
