"""How far a long stage has got, on disk about once a minute and whenever one of its trainings is finished: a
run that is killed loses no more than that."""

import io
import pickle
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from torch import Tensor, nn

from rbm_bundle.folders import replace_file
from rbm_training.runtime.log import RunLog

SECONDS_BETWEEN_SAVES: Final = 60.0
# Where the classes of trainings come from: a file that names anything else is not loaded, since it could run
# whatever somebody put into the folder of a run.
MODULES: Final = ("rbm_training", "torch.nn.modules", "torch.optim")
CLASSES: Final = {("builtins", "dict"), ("collections", "OrderedDict"), ("collections", "defaultdict")}

Training = TypeVar("Training")


class Checkpoint:
    """The trainings of a stage as they stand, each under a name, and the random numbers that come next.

    A training is pickled whole, whatever it is made of, but for what its stage is given anyway. What is
    loaded goes on bit for bit as it would have gone on.

    Args:
        file: where it is kept; without one, nothing is.
        log: is told of a training that cannot be kept, which goes on all the same.
        plugins: modules that trainings may have classes of, besides those here.
    """

    def __init__(self, file: Path | None, log: RunLog, plugins: Collection[str] = ()) -> None:
        self._file = file
        self._log = log
        self._modules = (*MODULES, *plugins)
        self._given: Mapping[str, object] = {}
        self._trainings: dict[str, Any] = {}
        self._random: dict[str, Any] | None = None
        self._saved_at = time.monotonic()

    def resume(self, **given: object) -> None:
        """Load what an earlier process has left, if anything.

        Args:
            given: objects that trainings refer to and that are not written with them.
        """
        self._given = given
        if self._file is None or not self._file.is_file():
            return
        try:
            with self._file.open("rb") as file:
                self._trainings, self._random = _Unpickler(file, given, self._modules).load()
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the file, the stage begins anew
            self._log.event("checkpoint_unreadable", reason=repr(error))

    def training(self, name: str, begin: Callable[[], Training]) -> Training:
        """Return the training of that name as it stood, its random numbers set, or a new one."""
        if name not in self._trainings:
            self._trainings[name] = begin()
        elif self._random is not None:
            _set_random(self._random)
        found: Training = self._trainings[name]
        return found

    def save_if_due(self) -> None:
        """Write all trainings, unless that was done within the last minute."""
        if time.monotonic() - self._saved_at >= SECONDS_BETWEEN_SAVES:
            self.save()

    def save(self) -> None:
        """Write all trainings."""
        if self._file is None:
            return
        content = io.BytesIO()
        try:
            _Pickler(content, self._given).dump((self._trainings, _random()))
            replace_file(self._file, content.getvalue())
        except Exception as error:  # noqa: BLE001 - whatever cannot be kept, the stage goes on
            self._log.event("checkpoint_failed", reason=repr(error))
        self._saved_at = time.monotonic()


class _Pickler(pickle.Pickler):
    """Writes the name in place of an object that is given, and tensors as their bytes."""

    def __init__(self, file: io.BytesIO, given: Mapping[str, object]) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._names = {id(value): name for name, value in given.items()}

    def persistent_id(self, obj: object) -> str | None:
        return self._names.get(id(obj))

    def reducer_override(self, obj: object) -> Any:  # noqa: ANN401 - as `pickle` has it
        if not isinstance(obj, Tensor):
            return NotImplemented
        array = obj.detach().cpu().contiguous()
        content = array.flatten().view(torch.uint8).numpy().tobytes()
        described = str(obj.dtype).removeprefix("torch."), tuple(obj.shape), str(obj.device)
        return _tensor, (content, *described, obj.requires_grad, isinstance(obj, nn.Parameter))


def _tensor(
    content: bytes, dtype: str, shape: tuple[int, ...], device: str, learns: bool, is_parameter: bool
) -> Tensor:
    flat = torch.frombuffer(bytearray(content), dtype=torch.uint8).view(getattr(torch, dtype))
    tensor = flat.view(shape).to(device)
    return nn.Parameter(tensor, learns) if is_parameter else tensor.requires_grad_(learns)


class _Unpickler(pickle.Unpickler):
    def __init__(
        self, file: io.BufferedReader, given: Mapping[str, object], modules: Collection[str]
    ) -> None:
        super().__init__(file)
        self._given = given
        self._modules = modules

    def persistent_load(self, pid: str) -> object:
        return self._given[pid]

    def find_class(self, module: str, name: str) -> object:
        is_ours = any(f"{module}.".startswith(f"{each}.") for each in self._modules)
        if is_ours or (module, name) in CLASSES:
            found = super().find_class(module, name)
            is_class = isinstance(found, type) and found.__module__ == module  # and no one that it imported
            if is_class or found is _tensor:
                return found
        raise pickle.UnpicklingError(f"{module}.{name}")


def _random() -> dict[str, Any]:
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()}


def _set_random(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["cpu"])
    torch.cuda.set_rng_state_all(state["cuda"])
