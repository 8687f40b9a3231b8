"""The models in service, by name: where requests find theirs, and how all of them end together."""

import asyncio
from collections.abc import Sequence
from typing import Final

from rbm_service.errors import ServiceError, UnknownModelError, WarmingError
from rbm_service.observability.metrics import Metrics
from rbm_service.serving.model import ServedModel
from rbm_service.serving.shadow import Shadow
from rbm_service.serving.slot import Lease, ModelSlot

TICK_SECONDS: Final = 0.02


class ModelRegistry:
    """A slot for each model: first those that were expected, in their order, then any others by name.

    The first that was expected is the default, for requests that name none, whether it is in service or not.
    Belongs to one event loop. The way to the end is that of the slots: `begin_drain`, `close`, `abandon`.
    """

    def __init__(self, metrics: Metrics) -> None:
        self.num_arrivals = 0  # requests that asked for a lease, and got one or not
        self.draining = False
        self.default = ""  # no name of a model
        self._metrics = metrics
        self._expected: Sequence[str] = ()
        self._slots: dict[str, ModelSlot] = {}
        self._leaving: list[ModelSlot] = []
        self._last_served: dict[str, ServedModel] = {}  # when the drain began

    def expect(self, names: Sequence[str]) -> None:
        """Make room for models that are about to come; nothing is ready before all of them are there."""
        self._expected, self.default = names, names[0]
        for name in names:
            self._slots[name] = ModelSlot(name, self._metrics)

    @property
    def names(self) -> list[str]:
        """Of the models in service and those that are expected, in their order."""
        return list(self._slots)

    @property
    def in_service(self) -> list[ServedModel]:
        """Every model that is there, in their order."""
        return [slot.present.model for slot in self._slots.values() if slot.present]

    @property
    def leaving(self) -> list[ServedModel]:
        """Those that were removed and have not answered all they had begun."""
        return [model for slot in self._leaving for model in slot.leased]

    @property
    def is_busy(self) -> bool:
        """Whether any request is being answered."""
        return any(slot.is_busy for slot in self._all_slots())

    @property
    def failed(self) -> list[ServedModel]:
        """Models whose engine went down and that were not rebuilt before the service ended."""
        return [model for model in self._last_served.values() if model.batcher.is_down]

    def find(self, name: str) -> ServedModel | None:
        """The model in service under a name, if there is one."""
        slot = self._slots.get(name)
        return slot.present.model if slot and slot.present else None

    def slot_of(self, name: str | None = None) -> ModelSlot:
        """The slot of a model, or of the default.

        Raises:
            WarmingError: nothing is there.
            UnknownModelError: no model of this name is in service, or the default is not.
        """
        slot = self._slots.get(self.default if name is None else name)
        if slot is None:
            raise self._absence_of(name)
        return slot

    def lease(self, name: str | None = None, version: int | None = None) -> Lease:
        """`with models.lease(name) as model`: see `ModelSlot.lease`; of this version, if one is given.

        Raises:
            WarmingError, DrainingError: there is none yet, or no more.
            UnknownModelError: no such model is in service, or in another version.
        """
        self.num_arrivals += 1
        slot = self._slots.get(self.default if name is None else name) or self.slot_of(name)
        lease = slot.present or slot.lease()
        if version is not None:
            self._check_version(lease.model, version)
        return lease

    def current(self, name: str | None = None, version: int | None = None) -> ServedModel:
        """A model in service, for a glance that awaits nothing; raises what `lease` does."""
        model = self.slot_of(name).current()
        if version is not None:
            self._check_version(model, version)
        return model

    def shadow_of(self, name: str) -> Shadow | None:
        """What follows a model, if anything does."""
        return self._slots[name].shadow if name in self._slots else None

    def check_ready(self) -> None:
        """Refuse unless there are models and every one of them is in service, to stay there.

        Raises:
            WarmingError, DrainingError: one is not there yet, or not for long.
            UnhealthyError: the engine of one is down.
        """
        if not self._slots:
            raise WarmingError
        for slot in self._slots.values():
            slot.check_ready()

    def swap(self, model: ServedModel) -> None:
        """Put a model in service under its name, in place of the version before it if there is one.

        While the service drains, nothing comes that was not there.
        """
        name = model.name
        if self.draining and name not in self._last_served:
            model.batcher.close()
            return
        if self.draining:
            self._last_served[name] = model
        if name not in self._slots:
            self.default = self.default or name
            self._slots[name] = ModelSlot(name, self._metrics)
            self._slots = {key: self._slots[key] for key in sorted(self._slots, key=self._rank)}
        self._slots[name].swap(model)

    async def remove(self, name: str) -> None:
        """Take a model out of service, and wait until the requests that it had begun are answered.

        Raises:
            UnknownModelError: no model of this name is in service.
        """
        slot = self.slot_of(name)
        self._leaving.append(slot)
        del self._slots[name]
        slot.close()
        while slot.is_busy:
            await asyncio.sleep(TICK_SECONDS)
        self._metrics.forget(model_name=name)

    def begin_drain(self) -> None:
        """Be ready no more, and lease on: whoever sends requests here takes a moment to notice."""
        if not self.draining:
            self._last_served = {model.name: model for model in self.in_service}
        self.draining = True
        for slot in self._slots.values():
            slot.begin_drain()

    def close(self) -> None:
        """Take all models out of service for good; each is closed when its last lease ends."""
        self.begin_drain()
        for slot in self._slots.values():
            slot.close()

    def abandon(self) -> None:
        """Refuse with 503 whatever is leased and has no answer yet."""
        for slot in self._all_slots():
            slot.abandon()

    def _rank(self, name: str) -> tuple[int, str]:
        expected = name in self._expected
        return (self._expected.index(name) if expected else len(self._expected), name)

    def _absence_of(self, name: str | None) -> ServiceError:
        if not self._slots and (name is None or not self.default):
            return WarmingError()
        what = f"the default model {self.default!r} is not" if name is None else f"no model {shown(name)} is"
        return UnknownModelError(f"{what} in service; in service: {self._listed()}")

    def _check_version(self, model: ServedModel, version: int) -> None:
        if version != model.version:
            raise UnknownModelError(
                f"version {version} of {model.name} is not in service; in service: {self._listed()}"
            )

    def _all_slots(self) -> list[ModelSlot]:
        self._leaving = [slot for slot in self._leaving if slot.is_busy]
        return [*self._slots.values(), *self._leaving]

    def _listed(self) -> str:
        return ", ".join(f"{model.name} {model.version}" for model in self.in_service) or "none"


def shown(name: str | None) -> str:
    """A name that a caller made up, cut to a length that can be shown."""
    return repr(name if name is None or len(name) <= 50 else name[:50] + "...")
