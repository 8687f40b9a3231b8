"""What moves the memories of a student while it learns."""

from rbm_training.students.student import StudentOutput


class Memory:
    """The memory of a student that has none: nothing is taken in, and nothing moves."""

    def accumulate(self, output: StudentOutput) -> None:
        """Take a batch's routing in."""

    def step(self) -> None:
        """End an optimiser step."""
