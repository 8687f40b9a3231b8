"""One model in service: where requests find it, how another version takes its place, and what shadows it."""

from collections.abc import Callable

from rbm_service.errors import DrainingError, UnhealthyError, WarmingError
from rbm_service.observability.metrics import Metrics
from rbm_service.serving.model import ServedModel
from rbm_service.serving.shadow import Shadow


class Lease:
    """A model's time in service; `with` leases the model to one request.

    It ends when another model takes over, and is over when the last request that leased it is answered.
    """

    __slots__ = ("_ended", "_on_over", "model", "num_leases")

    def __init__(self, model: ServedModel, on_over: "Callable[[Lease], None]") -> None:
        self.model = model
        self.num_leases = 0
        self._ended = False
        self._on_over = on_over

    def __enter__(self) -> ServedModel:
        self.num_leases += 1
        return self.model

    def __exit__(self, *exception: object) -> None:
        self.num_leases -= 1
        if self._ended and not self.num_leases:
            self._on_over(self)

    def end(self) -> None:
        """Lease no more."""
        self._ended = True
        if not self.num_leases:
            self._on_over(self)


class ModelSlot:
    """Holds the model in service under one name, or none; belongs to one event loop: a count needs no lock.

    The way to the end: `begin_drain` (not ready, still leasing), `close` (no new leases), `abandon`.
    """

    def __init__(self, name: str, metrics: Metrics) -> None:
        self.name = name
        self.draining = False
        self.shadow: Shadow | None = None
        self.present: Lease | None = None  # of the model in service
        self._metrics = metrics
        self._leases: set[Lease] = set()  # those that are not over
        self._former_version: int | None = None
        self._closed = False
        metrics.expect_model(name)
        metrics.model_ready.labels(name).set(lambda: self._refusal() is None)

    @property
    def leased(self) -> list[ServedModel]:
        """The models that answer requests: the one in service, and those before it that are not done."""
        return [lease.model for lease in self._leases if lease.num_leases]

    @property
    def is_busy(self) -> bool:
        """Whether a request is being answered, by this model or by one before it."""
        return bool(self.leased)

    def lease(self) -> Lease:
        """`with slot.lease() as model`: the model in service, not closed before the block ends.

        Raises:
            WarmingError, DrainingError: there is none yet, or no more.
        """
        if self.present is None:
            raise DrainingError if self._closed else WarmingError
        return self.present

    def current(self) -> ServedModel:
        """The model in service, for a glance that awaits nothing; raises what `lease` does."""
        return self.lease().model

    def check_ready(self) -> None:
        """Refuse unless a model is in service that computes, to stay there.

        Raises:
            WarmingError, DrainingError: there is none yet, or not for long.
            UnhealthyError: its engine is down.
        """
        if refusal := self._refusal():
            raise refusal

    def swap(self, model: ServedModel) -> None:
        """Put a model in service.

        Requests from now on get it; those that lease the one before it are computed by that one, which is
        closed and let go when the last of them is answered.
        """
        if self._closed:
            model.batcher.close()
            return
        replaced, self.present = self.present, Lease(model, self._on_over)
        self._leases.add(self.present)
        self._attach(model, replaced.model if replaced else None)
        if replaced is not None:
            replaced.end()

    def set_shadow(self, shadow: Shadow | None) -> None:
        """Let this shadow follow the model, and no other."""
        former, self.shadow = self.shadow, shadow
        if former is not None and former is not shadow:
            former.close()
            if shadow is None or shadow.version != former.version:
                former.metrics.forget()

    def begin_drain(self) -> None:
        """Be ready no more, and lease on: whoever sends requests here takes a moment to notice."""
        self.draining = True

    def close(self) -> None:
        """Take the model out of service for good; it is closed when the last lease ends."""
        self.begin_drain()
        self._closed = True
        if self.shadow is not None:
            self.shadow.close()
        lease, self.present = self.present, None
        if lease is not None:
            lease.end()

    def abandon(self) -> None:
        """Refuse with 503 whatever is leased and has no answer yet."""
        for lease in self._leases:
            lease.model.batcher.close()

    def _refusal(self) -> type[DrainingError | WarmingError | UnhealthyError] | None:
        """Why the model is not ready; None where it is."""
        lease = self.present  # once: the metrics ask in a thread of their own
        if self.draining:
            return DrainingError
        if lease is None:
            return WarmingError
        return UnhealthyError if lease.model.batcher.is_down else None

    def _on_over(self, lease: Lease) -> None:
        self._leases.discard(lease)
        lease.model.batcher.close()

    def _attach(self, model: ServedModel, replaced: ServedModel | None) -> None:
        """Let the metrics show a model in the place of the one before it, from now on.

        The series of the last two versions stay: what the replaced one counted may not be scraped yet.
        """
        metrics, name, batcher = self._metrics, self.name, model.batcher
        model.metrics.show()
        metrics.show_model(model.info)
        metrics.model_loads.labels(name, "loaded").inc()
        metrics.engine_healthy.labels(name).set(lambda: not batcher.is_down)
        if replaced is None:
            return
        if self._former_version not in (None, replaced.version, model.version):
            metrics.forget(model_name=name, model_version=self._former_version)
        self._former_version = replaced.version
