"""The models in service, by name: where requests find theirs, how others take their place, how all end."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rbm_service.errors import (
    DrainingError,
    ServiceError,
    UnhealthyError,
    UnknownModelError,
    WarmingError,
    shortened,
)
from rbm_service.observability.metrics import Metrics
from rbm_service.serving.model import ServedModel
from rbm_service.serving.shadow import Shadow

TICK_SECONDS: Final = 0.02


@dataclass(slots=True, eq=False)
class Lease:
    """A model's time in service; `with` leases the model to one request.

    It ends when another model takes over. When the last request that leased the model is answered, too, it is
    over: it leaves the set of leases that it is one of, and the model is closed.
    """

    model: ServedModel
    former_version: int | None  # the one that it took the place of
    leases: "set[Lease]"
    num_leases: int = 0
    ended: bool = False

    def __enter__(self) -> ServedModel:
        self.num_leases += 1
        return self.model

    def __exit__(self, *exception: object) -> None:
        self.num_leases -= 1
        if self.ended and not self.num_leases:
            self.leases.discard(self)
            self.model.batcher.close()

    def end(self) -> None:
        """Lease no more."""
        with self:
            self.ended = True


class ModelRegistry:
    """A place for each model: first those that were expected, in their order, then any others by name.

    The first that was expected is the default, for requests that name none, whether it is in service or not.
    Belongs to one event loop: a count needs no lock. The way to the end: `begin_drain` (not ready, still
    leasing), `close` (no new leases), `abandon`.
    """

    def __init__(self, metrics: Metrics) -> None:
        self.num_arrivals = 0  # requests that asked for a lease, and got one or not
        self.draining = False
        self.default = ""  # no name of a model
        self.shadows: dict[str, Shadow] = {}  # by the name of the model that each follows
        self._metrics = metrics
        self._closed = False
        self._expected: Sequence[str] = ()
        self._present: dict[str, Lease | None] = {}  # None: no model yet; once all are closed, the last ones
        self._leases: set[Lease] = set()  # those that are not over

    def expect(self, names: Sequence[str]) -> None:
        """Make room for models that are about to come; nothing is ready before all of them are there."""
        self._expected, self.default = names, names[0]
        for name in names:
            self._make_room(name)

    @property
    def names(self) -> list[str]:
        """Of the models in service and those that are expected, in their order."""
        return list(self._present)

    @property
    def in_service(self) -> list[ServedModel]:
        """Every model that is there, in their order."""
        return [lease.model for lease in self._present.values() if lease and not self._closed]

    @property
    def leaving(self) -> list[ServedModel]:
        """Those that were removed and have not answered all they had begun."""
        return [lease.model for lease in self._leases if lease.model.name not in self._present]

    @property
    def is_busy(self) -> bool:
        """Whether any request is being answered."""
        return any(lease.num_leases for lease in self._leases)

    @property
    def failed(self) -> list[ServedModel]:
        """Models whose engine went down and that were not rebuilt before the service ended."""
        return [lease.model for lease in self._present.values() if lease and lease.model.batcher.is_down]

    def find(self, name: str) -> ServedModel | None:
        """The model in service under a name, if there is one."""
        lease = self._present.get(name)
        return lease.model if lease and not self._closed else None

    def lease(self, name: str | None = None, version: int | None = None) -> Lease:
        """`with models.lease(name) as model`: a model, or the default, not closed before the block ends.

        Raises:
            WarmingError, DrainingError: there is none yet, or no more.
            UnknownModelError: no such model is in service, or in another version.
        """
        self.num_arrivals += 1
        lease = self._present.get(self.default if name is None else name)
        if lease is None or self._closed or version not in (None, lease.model.version):
            raise self._absence_of(name, version)
        return lease

    def current(self, name: str | None = None, version: int | None = None) -> ServedModel:
        """A model in service, for a glance that awaits nothing; raises what `lease` does."""
        model = self.find(self.default if name is None else name)
        if model is None or version not in (None, model.version):
            raise self._absence_of(name, version)
        return model

    def check_ready(self, name: str | None = None) -> None:
        """Refuse unless a model, or each of them, is in service and computes, to stay there.

        Raises:
            WarmingError, DrainingError: one is not there yet, or not for long.
            UnhealthyError: the engine of one is down.
        """
        if not self._present:
            raise WarmingError
        for each in self._present if name is None else [name]:
            if refusal := self._refusal_of(each):
                raise refusal

    def swap(self, model: ServedModel) -> None:
        """Put a model in service under its name, in place of the one before it if there is one.

        Requests from now on get it. Those that lease the one before it are computed by that one, which is
        closed and let go when the last of them is answered. While the service drains, nothing comes that was
        not there.
        """
        name, former = model.name, self._present.get(model.name)
        if self.draining and not former:
            model.batcher.close()
            return
        if name not in self._present:
            self.default = self.default or name
            self._make_room(name)
        self._present[name] = lease = Lease(model, former.model.version if former else None, self._leases)
        self._leases.add(lease)
        self._show(model, former)
        if former:
            former.end()
        if self._closed:
            lease.end()

    def set_shadow(self, name: str, shadow: Shadow | None) -> None:
        """Let this shadow follow a model, and no other."""
        former = self.shadows.pop(name, None)
        if shadow is not None:
            self.shadows[name] = shadow
        if former is not None and former is not shadow:
            former.close()
            if shadow is None or shadow.spec.version != former.spec.version:
                former.metrics.forget()

    async def remove(self, name: str) -> None:
        """Take a model out of service, and wait until the requests that it had begun are answered.

        Raises:
            UnknownModelError: no model of this name is in service.
        """
        if name not in self._present:
            raise self._absence_of(name)
        lease = self._present.pop(name)
        self.set_shadow(name, None)
        if lease:
            lease.end()
        while any(model.name == name for model in self.leaving):
            await asyncio.sleep(TICK_SECONDS)
        self._metrics.forget(model_name=name)

    def begin_drain(self) -> None:
        """Be ready no more, and lease on: whoever sends requests here takes a moment to notice."""
        self.draining = True

    def close(self) -> None:
        """Take all models out of service for good; each is closed when its last lease ends."""
        self.draining = self._closed = True
        for shadow in self.shadows.values():
            shadow.close()
        for lease in [*self._leases]:
            lease.end()

    def abandon(self) -> None:
        """Refuse with 503 whatever is leased and has no answer yet."""
        for lease in self._leases:
            lease.model.batcher.close()

    def _make_room(self, name: str) -> None:
        names = {*self._present, name}
        order = [*self._expected, *sorted(names)]
        self._present = {key: self._present.get(key) for key in sorted(names, key=order.index)}
        for outcome in ("loaded", "refused"):  # a rate sees the first only if the series was there before
            self._metrics.rbm_model_loads_total.labels(name, outcome)
        self._metrics.rbm_model_ready.labels(name).value = lambda: self._refusal_of(name) is None

    def _refusal_of(self, name: str) -> type[DrainingError | WarmingError | UnhealthyError] | None:
        """Why a model is not ready; None where it is. The metrics ask in a thread of their own."""
        if self.draining:
            return DrainingError
        model = self.find(name)
        if model is None:
            return WarmingError
        return UnhealthyError if model.batcher.is_down else None

    def _absence_of(self, name: str | None, version: int | None = None) -> ServiceError:
        """Why there is no model of this name in service, or not in this version."""
        key = self.default if name is None else name
        if not self._present and (name is None or not self.default):
            return WarmingError()
        if key not in self._present:
            what = f"the default model {key!r} is not" if name is None else f"no model {shortened(name)} is"
        elif self._closed or self._present[key] is None:
            return DrainingError() if self._closed else WarmingError()
        else:
            what = f"version {shortened(version)} of {key} is not"
        listed = ", ".join(f"{model.name} {model.version}" for model in self.in_service) or "none"
        return UnknownModelError(f"{what} in service; in service: {listed}")

    def _show(self, model: ServedModel, former: Lease | None) -> None:
        """Let the metrics show a model in the place of the one before it, from now on.

        The series of the last two versions stay: what the replaced one counted may not be scraped yet.
        """
        metrics, name, batcher, engine = self._metrics, model.name, model.batcher, model.engine
        bundle_id = model.bundle.manifest.bundle_id[:12]
        model.metrics.show()
        runs_as = (bundle_id, model.device, engine.provider, engine.runtime_version)
        metrics.show_model(name, model.version, *runs_as)
        metrics.rbm_model_loads_total.labels(name, "loaded").inc()
        metrics.rbm_engine_healthy.labels(name).value = lambda: not batcher.is_down
        if former and former.former_version not in (None, former.model.version, model.version):
            metrics.forget(model_name=name, model_version=former.former_version)
