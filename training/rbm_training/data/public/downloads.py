"""Files that others publish, fetched once into a folder of ours: whole or not at all."""

import http.client
import shutil
import tempfile
import urllib.request
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TIMEOUT_SECONDS: Final = 60


class DownloadError(Exception):
    """A file that could not be fetched."""

    def __init__(self, url: str, reason: object) -> None:
        super().__init__(f"{url}: {reason}")


@dataclass(frozen=True, slots=True)
class Files:
    """Files that stand side by side under an address and shall stand so in `folder`, below a root."""

    folder: str
    names: tuple[str, ...]
    url: str

    def path(self, root: Path) -> Path:
        """Where they are, or shall be."""
        return root / self.folder

    def is_present(self, root: Path) -> bool:
        """Whether all of them are there."""
        return all((self.path(root) / name).is_file() for name in self.names)

    def fetch(self, root: Path) -> None:
        """Download the missing ones.

        Raises:
            DownloadError: one cannot be had.
        """
        for name in self.names:
            if not (self.path(root) / name).is_file():
                with _scratch(self.path(root)) as scratch:
                    _download(f"{self.url}/{name}", Path(scratch) / name)
                    (Path(scratch) / name).replace(self.path(root) / name)


@dataclass(frozen=True, slots=True)
class Archive:
    """A folder that is published as a zip; `packed` is its name in there, `folder` the one it is given."""

    folder: str
    packed: str
    url: str

    def path(self, root: Path) -> Path:
        """Where it is, or shall be; unpacked by hand it has the name it was packed under."""
        by_hand = root / self.packed
        return by_hand if by_hand.is_dir() else root / self.folder

    def is_present(self, root: Path) -> bool:
        """Whether the folder is there."""
        return self.path(root).is_dir()

    def fetch(self, root: Path) -> None:
        """Download and unpack it.

        Raises:
            DownloadError: the archive cannot be had, or holds another folder.
        """
        with _scratch(root) as scratch:
            archive = Path(scratch) / "archive.zip"
            _download(self.url, archive)
            try:
                with zipfile.ZipFile(archive) as content:
                    content.extractall(scratch)
                (Path(scratch) / self.packed).rename(root / self.folder)
            except (zipfile.BadZipFile, zlib.error, OSError) as error:
                raise DownloadError(self.url, error) from error


def _scratch(folder: Path) -> tempfile.TemporaryDirectory[str]:
    folder.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(prefix=".incoming-", dir=folder)


def _download(url: str, path: Path) -> None:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response, path.open("wb") as file:
            shutil.copyfileobj(response, file)
            expected = response.headers.get("Content-Length")
    except (OSError, http.client.HTTPException) as error:
        raise DownloadError(url, error) from error
    received = path.stat().st_size
    if expected is not None and received != int(expected):
        raise DownloadError(url, f"{received} of {expected} bytes came")
