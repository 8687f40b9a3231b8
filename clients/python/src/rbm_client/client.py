"""The client that blocks."""

import time
from types import TracebackType
from typing import Self, TypeVar, Unpack

import httpx2

from rbm_client.exchange import Outcome, Retries, Send, Steps, Wait
from rbm_client.http import answer_of, failure_of, request_of, settings
from rbm_client.operations import Operations
from rbm_client.questions import Asked
from rbm_client.results import Change, Classification, Info, ModelRef, RepositoryRow

T = TypeVar("T")


class Client:
    """A client of one service; threads may share it. Close it in the end, or use it as a context.

    Args:
        base_url: where the service is, as `http://localhost:8000`, with the path of a proxy if there is one.
        api_key: a key of the service, or the admin's, which the commands need.
        timeout_seconds: how long to wait for a connection, and for each piece of an answer.
        retries: how often and how long to try again.
        max_connections: how many to keep open at most.
        transport: in place of that of httpx2, and of its limits: another certificate, a proxy, a test.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        timeout_seconds: float = 30.0,
        retries: Retries = Retries(),  # noqa: B008 - frozen
        max_connections: int = 16,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self._operations = Operations(retries, timeout_seconds)
        self._http = httpx2.Client(**settings(base_url, api_key, max_connections), transport=transport)

    def classify(self, **asked: Unpack[Asked]) -> Classification:
        """Classify nodes; `rbm_client.Asked` explains every argument.

        Raises:
            InputError: what was given cannot be sent.
            StatusError, TransportError: the service refused, failed, or could not be reached.
        """
        return self._run(self._operations.classify(asked))

    def info(self, model: str | None = None) -> Info:
        """Ask what a model in service takes, and how much of it at once."""
        return self._run(self._operations.info(model))

    def models(self) -> tuple[ModelRef, ...]:
        """Ask which models are in service, the default first."""
        return self._run(self._operations.models())

    def ready(self) -> bool:
        """Ask once whether every model is in service; False also where nobody answers."""
        return self._run(self._operations.ready())

    def promote(self, name: str, version: int) -> Change:
        """Put a version in service, once it has passed its self-test. Never sent twice, as all commands."""
        return self._run(self._operations.change(name, "promote", {"version": version}))

    def rollback(self, name: str) -> Change:
        """Put the next lower version than the promoted one in service."""
        return self._run(self._operations.change(name, "rollback"))

    def reload(self, name: str) -> Change:
        """Have the service look at once whether another version was promoted."""
        return self._run(self._operations.change(name, "reload"))

    def load(self, name: str) -> None:
        """Put the promoted version of a model in service, where the service takes such commands."""
        self._run(self._operations.load(name, "load"))

    def unload(self, name: str) -> None:
        """Take a model out of service, once all that it had begun is answered."""
        self._run(self._operations.load(name, "unload"))

    def repository(self) -> tuple[RepositoryRow, ...]:
        """Ask how things are with each model of the repository, in service or not; needs the admin's key."""
        return self._run(self._operations.repository())

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, steps: Steps[T]) -> T:
        outcome: Outcome = None
        try:
            while True:
                outcome = self._do(steps.send(outcome))
        except StopIteration as end:
            result: T = end.value
            return result

    def _do(self, step: Send | Wait) -> Outcome:
        if isinstance(step, Wait):
            time.sleep(step.seconds)
            return None
        try:
            return answer_of(self._http.request(**request_of(step)))
        except httpx2.RequestError as error:
            return failure_of(error)
