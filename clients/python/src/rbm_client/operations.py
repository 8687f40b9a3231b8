"""What the service can be asked, each an operation that tells step by step what is to be sent.

Nothing here sends or waits; `client` and `async_client` do.
"""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode

from rbm_client import json_form, tensors
from rbm_client.errors import (
    CODES,
    ConnectionFailedError,
    NotFoundError,
    UnavailableError,
    UnknownNodeError,
    as_unknown_node,
    invalid_answer,
)
from rbm_client.exchange import Answer, Call, Retries, Steps, exchange
from rbm_client.questions import Asked, Question, read_question
from rbm_client.results import Change, Classification, Info, Limits, ModelRef, RepositoryRow

T = TypeVar("T")

LOAD_TIMEOUT_SECONDS: Final = 600.0  # a command answers when its model is loaded and has passed its self-test
LOAD_CODES: Final = {404: "unknown_model", 422: "model_refused"}  # where the answer names none
MOST_CHANGES: Final = 3  # of the version in service, while one question is asked


class Operations:
    """All operations, and what is known of the models in service from one to the next."""

    def __init__(
        self, retries: Retries, timeout_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._retries, self._timeout_seconds, self._clock = retries, timeout_seconds, clock
        self._infos: dict[str | None, Info] = {}

    def classify(self, asked: Asked) -> Steps[Classification]:
        """Classify nodes; where the version in service changes meanwhile, all of them by the new one."""
        question = read_question(asked)
        info = yield from self._known(question)
        changes = 0
        while True:
            try:
                return (yield from self._answered(question, info))
            except UnknownNodeError:
                raise
            except NotFoundError as error:
                former, info = info, (yield from self.info(question.model))
                changes += 1
                if info.model == former.model or changes > MOST_CHANGES:
                    raise error if error.code else as_unknown_node(error) from None

    def info(self, model: str | None = None) -> Steps[Info]:
        """Ask for a model in service, and remember what is said."""
        query = "" if model is None else "?" + urlencode({"model": model})
        answer = yield from self._exchange(Call("GET", f"/info{query}"))
        info = _read(answer, "/info", _info)
        self._infos[model] = info
        return info

    def models(self) -> Steps[tuple[ModelRef, ...]]:
        """Ask for all models in service, the default first."""
        return (yield from self.info()).models

    def ready(self) -> Steps[bool]:
        """Ask once whether every model is in service; where nobody answers, none is."""
        try:
            yield from self._exchange(Call("GET", "/readyz", repeatable=False))
        except (UnavailableError, ConnectionFailedError):
            return False
        return True

    def change(self, name: str, command: str, body: object = None) -> Steps[Change]:
        """Give an admin's command, once."""
        path = f"/admin/models/{quote(name, safe='')}/{command}"
        answer = yield from self._command(path, body)
        return _read(answer, path, _change)

    def load(self, name: str, command: str) -> Steps[None]:
        """Load or unload a model, once."""
        path = f"/v2/repository/models/{quote(name, safe='')}/{command}"
        yield from self._command(path, codes={**CODES, **LOAD_CODES})

    def repository(self) -> Steps[tuple[RepositoryRow, ...]]:
        """Ask how things are with each model of the repository."""
        path = "/v2/repository/index"
        answer = yield from self._exchange(Call("POST", path))
        return _read(answer, path, _repository_rows)

    def _known(self, question: Question) -> Steps[Info]:
        """What is known of a model, asked anew where another version is wanted."""
        info = self._infos.get(question.model)
        if info is not None and question.version in (None, info.model.version):
            return info
        return (yield from self.info(question.model))

    def _answered(self, question: Question, info: Info) -> Steps[Classification]:
        in_bytes = tensors.can_say(question, info)
        answers = []
        for call in (tensors if in_bytes else json_form).calls(question, info):
            answers.append((yield from self._exchange(call)))
        read = tensors.read if in_bytes else json_form.read
        return read(answers, question, info)

    def _command(self, path: str, body: object = None, codes: Mapping[int, str] = CODES) -> Steps[Answer]:
        content = b"" if body is None else json.dumps(body).encode()
        call = Call(
            *("POST", path, content, json_form.HEADERS),
            repeatable=False,
            timeout_seconds=LOAD_TIMEOUT_SECONDS,
            codes=codes,
        )
        return (yield from self._exchange(call))

    def _exchange(self, call: Call) -> Steps[Answer]:
        return exchange(call, self._retries, self._timeout_seconds, self._clock)


def _read(answer: Answer, source: str, read: Callable[[Any], T]) -> T:
    """What an answer says, if the service would say that."""
    try:
        return read(json.loads(answer.content))
    except (ValueError, KeyError, TypeError) as error:
        raise invalid_answer(
            source, answer.content.decode(errors="replace"), "the service's answer"
        ) from error


def _model(said: Any) -> ModelRef:  # noqa: ANN401 - JSON
    return ModelRef(said["name"], said["version"])


def _info(said: Any) -> Info:  # noqa: ANN401 - JSON
    return Info(
        model=_model(said["model"]),
        models=tuple(map(_model, said["models"])),
        labels=tuple(said["labels"]),
        num_features=said["features"]["num_features"],
        position_width=said["nodes"]["position_width"],
        id_kind=said["nodes"]["id_kind"],
        limits=Limits(**{name: said["limits"][name] for name in Limits.__dataclass_fields__}),
        document=said,
    )


def _change(said: Any) -> Change:  # noqa: ANN401 - JSON
    return Change(_model(said["model"]), said["former_version"], tuple(said["notes"]))


def _repository_rows(said: Any) -> tuple[RepositoryRow, ...]:  # noqa: ANN401 - JSON
    return tuple(
        RepositoryRow(
            name=row["name"],
            version=int(row["version"]) if "version" in row else None,
            state=row["state"],
            reason=row["reason"],
        )
        for row in said
    )
