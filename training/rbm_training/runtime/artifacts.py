"""Arrays kept on disk under a digest of what they depend on, so that nothing is computed twice."""

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rbm_bundle.folders import replace_file

Arrays = Mapping[str, npt.NDArray[Any]]


class ArtifactStore:
    """Named arrays by what they depend on: any difference in that is another entry."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def arrays(self, kind: str, cache_key: Mapping[str, Any], make: Callable[[], Arrays]) -> Arrays:
        """Return the arrays of a kind, from disk when they are there.

        Args:
            cache_key: what they depend on, as JSON has it.
        """
        digest = hashlib.sha256(json.dumps(cache_key, sort_keys=True).encode()).hexdigest()
        path = self._folder / f"{kind}-{digest[:32]}.npz"
        if not path.exists():
            buffer = io.BytesIO()
            arrays: dict[str, Any] = dict(make())
            np.savez(buffer, **arrays)
            replace_file(path, buffer.getvalue())
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
