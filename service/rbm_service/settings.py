"""Settings of the service: environment variables with the prefix `RBM_`, read once at start."""

import difflib
import importlib.util
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, FiniteFloat, HttpUrl, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

ENV_PREFIX = "RBM_"
TRACING_MODULE = "opentelemetry.exporter.otlp.proto.http"
# What Kubernetes sets for a Service: an address under two kinds of names, and its parts under more.
LINKED_ADDRESS = re.compile(r"(tcp|udp|sctp)://.+:\d+", re.IGNORECASE)
LINKED_NAME = re.compile(r"(RBM|RBM_.+)_PORT(_\d+_(TCP|UDP|SCTP))?")
LINKED_PART = re.compile(r"_SERVICE_HOST|_SERVICE_PORT(_.+)?|_PORT_\d+_(TCP|UDP|SCTP)_(PORT|PROTO|ADDR)")

Port = Annotated[int, Field(ge=1, le=65535)]
Count = Annotated[int, Field(ge=1)]
MAX_SECONDS = 3600
Seconds = Annotated[FiniteFloat, Field(gt=0, le=MAX_SECONDS)]
AtLeastASecond = Annotated[FiniteFloat, Field(ge=1, le=MAX_SECONDS)]
SecondsOrNone = Annotated[FiniteFloat, Field(ge=0, le=MAX_SECONDS)]
Prefix = Annotated[str, Field(pattern=r"^(/[A-Za-z0-9._~-]+)*$")]
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@*\sA-Z]+")


class Settings(BaseSettings):
    """What an operator decides. An empty variable counts as unset; an unknown `RBM_*` is refused."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
    )

    models_dir: Path = Path("models")
    """The model repository."""

    model: str | None = None
    """The model to serve, or several with commas between them: the first is the one of requests that name
    none. May be left out when the repository holds only one."""

    device: Literal["cuda", "cpu"] = "cuda"
    """`cuda` or `cpu`: where the model runs. The service never falls back from one to the other."""

    host: str = "127.0.0.1"
    """Address to listen on."""

    port: Port = 8000
    """Port of the API."""

    metrics_port: Port | None = None
    """Port for /metrics alone; when unset, /metrics is served on the port of the API."""

    max_batch_rows: Count = 1024
    """Most rows in one forward pass."""

    max_queued_rows: Count = 8192
    """Most rows that may wait; a request that does not fit is answered with 429."""

    max_request_rows: Count = 1024
    """Most rows in one request."""

    max_body_bytes: Count = 16 * 1024 * 1024
    """Longest request body."""

    max_buffered_bytes: Count = 256 * 1024 * 1024
    """Most bytes of all request bodies that are held at the same time, as they arrive, and of what
    compressed ones expand to. A request that goes beyond it gets 429: before its body is read, where it
    announces more than there is room for."""

    header_timeout_seconds: Seconds = 10.0
    """How long the headers of a request may take to arrive; then the connection is closed. One that waits for
    its next request is closed after five seconds."""

    body_timeout_seconds: Seconds = 10.0
    """How long the body of a request may take to arrive after its headers; then it is answered with 408, and
    the connection is closed."""

    request_timeout_seconds: Seconds = 10.0
    """How long a request may take once its body is there; then it is answered with 504, and if it still waits
    in the queue, it is never computed. A request may ask for less by its `timeout_seconds`, not for more."""

    engine_timeout_seconds: AtLeastASecond = 30.0
    """Longest time for one batch. An engine that takes longer hangs: the batch gets 500, every other request
    503 `unhealthy`, and the model is rebuilt from its bundle, for which one try may take four times as long
    as this. Where the event loop itself stands still for so long, the process ends with 4."""

    drain_seconds: SecondsOrNone = 10.0
    """Longest time that SIGTERM or SIGINT leaves for answering. /readyz turns 503 at once, while requests are
    still taken: until none has come for a second, at most for half of this time. Later ones are refused with
    503 `draining`, those taken are answered, the listener closes, the process ends with 0. Let whoever kills
    the process after SIGTERM wait a few seconds longer than this. 0: refuse and end at once. A second signal
    ends the process without any of that."""

    reload_poll_seconds: SecondsOrNone = 2.0
    """How often to look for a newly promoted version, which is loaded beside the one in service and takes its
    place once it has proved itself. One that cannot be loaded is refused once, and tried again when it is
    promoted again or its manifest changes. 0: look only when told to, by SIGHUP or by the admin's routes."""

    model_control: Literal["poll", "explicit"] = "poll"
    """`poll`: the models of RBM_MODEL, each in the version that is promoted. `explicit`: these at start, and
    from then on what the admin's routes load and unload; nothing is polled. Needs RBM_ADMIN_KEY_FILE."""

    api_keys_file: Path | None = None
    """File of the keys that open the API, on each line a name and the SHA-256 of a key, as
    `rbm-serve --new-key NAME >> FILE` adds it; `#` begins a comment. When unset, everyone may come in."""

    admin_key_file: Path | None = None
    """File with the SHA-256 of the key that opens /admin and /v2/repository, and all the rest. When unset,
    these two do not exist."""

    docs: Literal["open", "keys", "off"] | None = None
    """Who may read /docs and /openapi.json: `open`, everyone; `keys`, whoever has a key; `off`, nobody: they
    do not exist. When unset, `keys` where there is RBM_API_KEYS_FILE, else `open`."""

    console: Literal["on", "off"] = "on"
    """`on` or `off`: whether a browser finds the console at `/`. The page itself needs no key, and is empty
    until one is given where the service has keys. Off, it does not exist."""

    cors_origins: str | None = None
    """Origins whose scripts may call the service from a browser, as in `https://app.example.org`, with commas
    between them. When unset, browsers show no script of another origin an answer."""

    root_path: Prefix = ""
    """Prefix under which a proxy offers the service, as in `/rbm`, whether the proxy cuts it off or not."""

    intra_op_threads: Count = 1
    """Threads of ONNX Runtime within one operator."""

    gpu_memory_limit_bytes: Count | None = None
    """Most GPU memory for weights and intermediate results (with `cuda`); when unset, there is no limit."""

    otlp_endpoint: HttpUrl | None = None
    """Address of a collector that takes traces by OTLP over HTTP, as in `http://collector:4318`; needs the
    extra `tracing`. When unset, nothing is traced."""

    log_format: Literal["json", "console"] = "json"
    """`json`, one object a line, or `console`, for a human."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe level that is written: `debug`, `info`, `warning` or `error`."""

    @property
    def model_names(self) -> tuple[str, ...]:
        """The names in `model`; none when it is left out."""
        return tuple(name.strip() for name in self.model.split(",")) if self.model else ()

    @property
    def has_open_docs(self) -> bool:
        """Whether /docs and /openapi.json need no key."""
        return self.docs in ("open", "off") or (self.docs is None and self.api_keys_file is None)

    @property
    def allowed_origins(self) -> tuple[str, ...]:
        """The origins in `cors_origins`; none when it is left out."""
        return _listed(self.cors_origins)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_variables(cls, values: dict[str, Any]) -> dict[str, Any]:
        known = {ENV_PREFIX + name.upper() for name in cls.model_fields}
        links = service_links(os.environ)
        given = {name for name in os.environ if name.upper().startswith(ENV_PREFIX)} - links
        if unknown := sorted(name for name in given if name.upper() not in known):
            raise ValueError("; ".join(_unknown_variable(name, known) for name in unknown))
        linked = {name.removeprefix(ENV_PREFIX).lower() for name in links}
        is_link = {name for name in linked & set(values) if LINKED_ADDRESS.fullmatch(str(values[name]))}
        return {name: value for name, value in values.items() if name not in is_link}

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, origins: str | None) -> str | None:
        if wrong := ", ".join(origin for origin in _listed(origins) if not ORIGIN.fullmatch(origin)):
            raise ValueError(f"RBM_CORS_ORIGINS: expected origins as in https://app.example.org, got {wrong}")
        return origins

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if mistakes := "; ".join(self._mistakes()):
            raise ValueError(mistakes)
        return self

    def _mistakes(self) -> Iterator[str]:
        if (rows := self.max_request_rows) > (queued := self.max_queued_rows):
            yield f"RBM_MAX_REQUEST_ROWS={rows} exceeds RBM_MAX_QUEUED_ROWS={queued}: could never be queued"
        if (body := self.max_body_bytes) > (buffered := self.max_buffered_bytes):
            yield f"RBM_MAX_BODY_BYTES={body} exceeds RBM_MAX_BUFFERED_BYTES={buffered}: could never be held"
        if "" in self.model_names or len(set(self.model_names)) < len(self.model_names):
            yield f"RBM_MODEL: expected different names with commas between, got {self.model}"
        if self.metrics_port == self.port:
            yield f"RBM_METRICS_PORT={self.metrics_port} is the port of the API as well"
        if self.otlp_endpoint is not None and not _is_installed(TRACING_MODULE):
            yield (
                f"RBM_OTLP_ENDPOINT={self.otlp_endpoint}, but OpenTelemetry is not installed: "
                "install the extra `tracing`, or leave it unset"
            )
        if self.docs == "keys" and self.api_keys_file is None:
            yield "RBM_DOCS=keys needs RBM_API_KEYS_FILE: nobody has a key"
        if self.model_control == "explicit" and self.admin_key_file is None:
            yield "RBM_MODEL_CONTROL=explicit needs RBM_ADMIN_KEY_FILE: nobody could load a model"


def service_links(environment: Mapping[str, str]) -> set[str]:
    """Return the variables that Kubernetes sets in every container for Services whose names begin with `rbm`.

    A Service `rbm` gives `RBM_PORT=tcp://10.0.0.1:8000`, `RBM_SERVICE_HOST` and so on, a Service `rbm-x` the
    same after `RBM_X`. The address tells them from a setting, and from a mistake.
    """
    addresses = [name for name, value in environment.items() if LINKED_ADDRESS.fullmatch(value)]
    links = {name: match[1] for name in addresses if (match := LINKED_NAME.fullmatch(name))}
    parts = {
        name
        for name in environment
        for service in links.values()
        if name.startswith(service) and LINKED_PART.fullmatch(name.removeprefix(service))
    }
    return parts | set(links)


def _listed(text: str | None) -> tuple[str, ...]:
    """What stands between commas."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # not even what it is a part of
        return False


def _unknown_variable(name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name.upper(), known, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"{name} is not a setting{hint}"
