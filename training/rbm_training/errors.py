"""What the command line tells in one line: the base of training's errors."""


class TrainingError(Exception):
    """Something that `rbm-train` was asked to do and cannot; the text is all that its user needs."""
