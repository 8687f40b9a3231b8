"""The client that awaits."""

import asyncio
from types import TracebackType
from typing import Self, TypeVar, Unpack

import httpx2

from rbm_client.exchange import Outcome, Retries, Send, Steps, Wait
from rbm_client.http import answer_of, failure_of, request_of, settings
from rbm_client.operations import Operations
from rbm_client.questions import Asked
from rbm_client.results import Change, Classification, Info, ModelRef, RepositoryRow

T = TypeVar("T")


class AsyncClient:
    """The same as `Client` for asyncio; tasks may share it.

    Args: those of `Client`; `transport` is one that awaits.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        timeout_seconds: float = 30.0,
        retries: Retries = Retries(),  # noqa: B008 - frozen
        max_connections: int = 16,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._operations = Operations(retries, timeout_seconds)
        self._http = httpx2.AsyncClient(**settings(base_url, api_key, max_connections), transport=transport)

    async def classify(self, **asked: Unpack[Asked]) -> Classification:
        """Classify nodes; `rbm_client.Asked` explains every argument.

        Raises:
            InputError: what was given cannot be sent.
            StatusError, TransportError: the service refused, failed, or could not be reached.
        """
        return await self._run(self._operations.classify(asked))

    async def info(self, model: str | None = None) -> Info:
        """Ask what a model in service takes, and how much of it at once."""
        return await self._run(self._operations.info(model))

    async def models(self) -> tuple[ModelRef, ...]:
        """Ask which models are in service, the default first."""
        return await self._run(self._operations.models())

    async def ready(self) -> bool:
        """Ask once whether every model is in service; False also where nobody answers."""
        return await self._run(self._operations.ready())

    async def promote(self, name: str, version: int) -> Change:
        """Put a version in service, once it has passed its self-test. Never sent twice, as all commands."""
        return await self._run(self._operations.change(name, "promote", {"version": version}))

    async def rollback(self, name: str) -> Change:
        """Put the next lower version than the promoted one in service."""
        return await self._run(self._operations.change(name, "rollback"))

    async def reload(self, name: str) -> Change:
        """Have the service look at once whether another version was promoted."""
        return await self._run(self._operations.change(name, "reload"))

    async def load(self, name: str) -> None:
        """Put the promoted version of a model in service, where the service takes such commands."""
        await self._run(self._operations.load(name, "load"))

    async def unload(self, name: str) -> None:
        """Take a model out of service, once all that it had begun is answered."""
        await self._run(self._operations.load(name, "unload"))

    async def repository(self) -> tuple[RepositoryRow, ...]:
        """Ask how things are with each model of the repository, in service or not; needs the admin's key."""
        return await self._run(self._operations.repository())

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _run(self, steps: Steps[T]) -> T:
        outcome: Outcome = None
        try:
            while True:
                outcome = await self._do(steps.send(outcome))
        except StopIteration as end:
            result: T = end.value
            return result

    async def _do(self, step: Send | Wait) -> Outcome:
        if isinstance(step, Wait):
            await asyncio.sleep(step.seconds)
            return None
        try:
            return answer_of(await self._http.request(**request_of(step)))
        except httpx2.RequestError as error:
            return failure_of(error)
