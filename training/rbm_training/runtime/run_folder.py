"""The folder of a run: one process at a time, and the experiment that it is the run of."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rbm_bundle.folders import replace_file
from rbm_training.errors import TrainingError

ARTIFACTS: Final = "artifacts"
BUNDLE: Final = "bundle"
REPORT: Final = "report.json"
CONFIG: Final = "config.toml"
OTHER_CONFIG: Final = "config.resolved.toml"
HEADER: Final = "# The resolved experiment of this run, written by rbm-train.\n"
LOCK: Final = ".lock"


class RunFolderError(TrainingError):
    """A run folder that must not be written to."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where a run leaves its artifacts, its bundle, its report and its log."""

    path: Path

    @property
    def artifacts(self) -> Path:
        """The folder of its artifacts."""
        return self.path / ARTIFACTS

    @property
    def bundle(self) -> Path:
        """The folder of its bundle."""
        return self.path / BUNDLE

    def check(self) -> None:
        """Refuse a folder with a bundle or report that no run of artifacts has left.

        Raises:
            RunFolderError: there is one.
        """
        for name in (REPORT, BUNDLE):
            if (self.path / name).exists() and not self.artifacts.is_dir():
                raise RunFolderError(
                    f"{self.path}: found {name} of an earlier run, without its artifacts; wanted a new"
                    " folder, or that of a run that can go on"
                )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder and keep every other process out of it.

        Raises:
            RunFolderError: another process works in it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / LOCK).open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise RunFolderError(
                    f"{self.path}: found process {file.read()} at work in it; wanted a folder that no other"
                    " process works in"
                ) from None
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    def write_config(self, text: str) -> None:
        """Write the resolved experiment; a file of that name that is the user's own stays as it is."""
        path = self.path / CONFIG
        is_ours = not path.exists() or path.read_text().startswith(HEADER)
        replace_file(path if is_ours else self.path / OTHER_CONFIG, (HEADER + text).encode())

    def config_file(self) -> Path:
        """Return the file of the resolved experiment."""
        other = self.path / OTHER_CONFIG
        return other if other.exists() else self.path / CONFIG
