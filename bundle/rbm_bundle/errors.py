"""The one error a bundle or a model repository raises."""

from pathlib import Path


class BundleError(Exception):
    """Something on disk is not what the contract says.

    Attributes:
        file: the file or folder that is wrong.
        found: what is there.
        wanted: what should be there.
    """

    def __init__(self, file: Path | str, found: str, wanted: str) -> None:
        super().__init__(f"{file}: found {found}; wanted {wanted}")
        self.file = str(file)
        self.found = found
        self.wanted = wanted
