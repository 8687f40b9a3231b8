"""Teachers and positions kept on disk, so that every student of a comparison shares them.

Dimension letters: N observed nodes, U unseen nodes, C classes, R representation width.
"""

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rbm_bundle.folders import replace_file
from rbm_training.graph import Floats
from rbm_training.teachers import TeacherResult

Arrays = dict[str, npt.NDArray[Any]]
TEACHER_FIELDS = ("logits", "unseen_logits", "entropy_shift", "representations")


class StageCache:
    """Results by what they were made of: any difference in that is another entry."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def positions(self, made_of: dict[str, Any], make: Callable[[], Floats]) -> Floats:
        """Positions (N, P), from disk when they are there."""
        arrays = self._arrays("positions", made_of, lambda: {"positions": make()})
        return np.asarray(arrays["positions"], np.float32)

    def teacher(
        self, made_of: dict[str, Any], make: Callable[[], TeacherResult], device: torch.device
    ) -> TeacherResult:
        """A teacher's answers, from disk when they are there."""
        arrays = self._arrays("teacher", made_of, lambda: _as_arrays(make()))
        tensors = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
        return TeacherResult(**{name: tensors.get(name) for name in TEACHER_FIELDS})  # type: ignore[arg-type]

    def _arrays(self, kind: str, made_of: dict[str, Any], make: Callable[[], Arrays]) -> Arrays:
        digest = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()
        path = self._folder / f"{kind}-{digest[:32]}.npz"
        if not path.exists():
            buffer = io.BytesIO()
            arrays: dict[str, Any] = make()
            np.savez(buffer, **arrays)
            replace_file(path, buffer.getvalue())
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}


def _as_arrays(result: TeacherResult) -> Arrays:
    tensors = {name: getattr(result, name) for name in TEACHER_FIELDS}
    return {name: tensor.cpu().numpy() for name, tensor in tensors.items() if tensor is not None}
