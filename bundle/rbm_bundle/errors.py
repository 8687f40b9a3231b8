"""The one error a bundle or a model repository raises."""

from pathlib import Path
from typing import Final

MAX_TEXT: Final = 1000  # characters of each part: a header or a list of files can be of any length


class BundleError(Exception):
    """Something on disk is not what the contract says.

    Its text is one line that can be encoded and shown anywhere: names of files need not be UTF-8.

    Attributes:
        file: the file or folder that is wrong.
        got: what is there.
        expected: what should be there.
    """

    def __init__(self, file: Path | str, got: str, expected: str) -> None:
        self.file, self.got, self.expected = _printable(str(file)), _printable(got), _printable(expected)
        super().__init__(f"{self.file}: expected {self.expected}, got {self.got}")


def _printable(text: str) -> str:
    """The text with everything escaped that is no printable character, cut off when it is too long."""
    shown = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text[:MAX_TEXT])
    return shown if len(text) <= MAX_TEXT else f"{shown}…"
