"""One model in service: where requests find it, how another version takes its place, and what shadows it."""

from collections.abc import Callable

from rbm_service.errors import DrainingError, UnhealthyError, WarmingError
from rbm_service.observability.metrics import Metrics
from rbm_service.serving.model import ServedModel
from rbm_service.serving.shadow import Shadow


class Lease:
    """A model's time in service; `with` leases the model to one request.

    It ends when another model takes over, and is over when the last lease ends after that.
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
        self._metrics = metrics
        self._current: Lease | None = None
        self._leases: set[Lease] = set()  # those that are not over
        self._former_version: int | None = None
        self._closed = False
        metrics.expect_model(name)

    @property
    def is_filled(self) -> bool:
        """Whether a model is in service."""
        return self._current is not None

    @property
    def leased(self) -> list[ServedModel]:
        """The models that answer requests: the one in service, and those before it that are not done."""
        return [lease.model for lease in self._leases if lease.num_leases]

    @property
    def is_busy(self) -> bool:
        """Whether a lease is held, of this model or of one before it."""
        return bool(self.leased)

    def lease(self) -> Lease:
        """`with slot.lease() as model`: the model in service, not closed before the block ends.

        Raises:
            WarmingError, DrainingError: there is none yet, or no more.
        """
        if self._current is None:
            raise DrainingError if self._closed else WarmingError
        return self._current

    def current(self) -> ServedModel:
        """The model in service, for a glance that awaits nothing.

        Raises:
            WarmingError, DrainingError: there is none yet, or no more.
        """
        return self.lease().model

    def check_ready(self) -> None:
        """Refuse unless a model is in service that computes, to stay there.

        Raises:
            WarmingError, DrainingError: there is none yet, or not for long.
            UnhealthyError: its engine is down.
        """
        if self.draining:
            raise DrainingError
        if self.lease().model.batcher.is_down:
            raise UnhealthyError

    def swap(self, model: ServedModel) -> None:
        """Put a model in service.

        Requests from now on get it; those that lease the one before it are computed by that one, which is
        closed and let go when the last of them is answered.
        """
        if self._closed:
            model.batcher.close()
            return
        replaced, self._current = self._current, Lease(model, self._on_over)
        self._leases.add(self._current)
        self._metrics.show_model(model.info)
        self._metrics.model_ready.labels(self.name).set(not self.draining)
        self._metrics.model_loads.labels(self.name, "loaded").inc()
        if replaced is not None:
            self._forget_former(replaced.model, model)
            replaced.end()

    def set_shadow(self, shadow: Shadow | None) -> None:
        """Let this shadow follow the model, and no other."""
        former, self.shadow = self.shadow, shadow
        if former is not None and former is not shadow:
            former.close()
            if shadow is not None and shadow.version != former.version:
                self._metrics.forget_shadow(self.name, former.version)

    def show_failure(self) -> None:
        """Let `rbm_model_ready` say that the model in service is down, until another takes its place."""
        self._metrics.model_ready.labels(self.name).set(0)

    def begin_drain(self) -> None:
        """Be ready no more, and lease on: whoever sends requests here takes a moment to notice."""
        self.draining = True
        self._metrics.model_ready.labels(self.name).set(0)

    def close(self) -> None:
        """Take the model out of service for good; it is closed when the last lease ends."""
        self.begin_drain()
        self._closed = True
        self.set_shadow(None)
        lease, self._current = self._current, None
        if lease is not None:
            lease.end()

    def abandon(self) -> None:
        """Refuse with 503 whatever is leased and has no answer yet."""
        for lease in self._leases:
            lease.model.batcher.close()

    def _on_over(self, lease: Lease) -> None:
        self._leases.discard(lease)
        lease.model.batcher.close()

    def _forget_former(self, replaced: ServedModel, model: ServedModel) -> None:
        """Keep the series of the last two versions: what the replaced one counted may not be scraped yet.

        Series without a version go on with the next model, as far as it has the same experts and classes.
        """
        if self._former_version not in (None, replaced.version, model.version):
            self._metrics.forget_version(model.name, self._former_version)
        self._former_version = replaced.version
        former, present = replaced.bundle.manifest, model.bundle.manifest
        self._metrics.forget_experts(
            self.name, former.architecture.num_experts, present.architecture.num_experts
        )
        self._metrics.forget_classes(self.name, former.labels, present.labels)
