"""Settings of the service: environment variables with the prefix `RBM_`, read once at start."""

import difflib
import importlib.util
import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, HttpUrl, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

ENV_PREFIX = "RBM_"
TRACING_MODULE = "opentelemetry.exporter.otlp.proto.http"

Port = Annotated[int, Field(ge=1, le=65535)]
Count = Annotated[int, Field(ge=1)]
MAX_SECONDS = 3600
Seconds = Annotated[float, Field(gt=0, le=MAX_SECONDS)]
AtLeastASecond = Annotated[float, Field(ge=1, le=MAX_SECONDS)]
SecondsOrNone = Annotated[float, Field(ge=0, le=MAX_SECONDS)]


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
    `rbm-serve --new-key NAME` prints it; `#` begins a comment. When unset, the API is open to everyone."""

    admin_key_file: Path | None = None
    """File with the SHA-256 of the key that opens /admin and /v2/repository, and all the rest. When unset,
    these two do not exist."""

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

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_variables(cls, values: object) -> object:
        known = {ENV_PREFIX + name.upper() for name in cls.model_fields}
        given = {name for name in os.environ if name.upper().startswith(ENV_PREFIX)}
        if unknown := sorted(name for name in given if name.upper() not in known):
            raise ValueError("; ".join(_unknown_variable(name, known) for name in unknown))
        return values

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.max_request_rows > self.max_queued_rows:
            raise ValueError(
                f"RBM_MAX_REQUEST_ROWS={self.max_request_rows} exceeds RBM_MAX_QUEUED_ROWS="
                f"{self.max_queued_rows}: such a request could never be queued"
            )
        if "" in self.model_names or len(set(self.model_names)) < len(self.model_names):
            raise ValueError(f"RBM_MODEL={self.model}: wanted different names with commas between them")
        if self.metrics_port == self.port:
            raise ValueError(f"RBM_METRICS_PORT={self.metrics_port} is the port of the API as well")
        if self.otlp_endpoint is not None and not _is_installed(TRACING_MODULE):
            raise ValueError(
                f"RBM_OTLP_ENDPOINT={self.otlp_endpoint}, but OpenTelemetry is not installed: "
                "install the extra `tracing`, or leave it unset"
            )
        if self.model_control == "explicit" and self.admin_key_file is None:
            raise ValueError("RBM_MODEL_CONTROL=explicit needs RBM_ADMIN_KEY_FILE: nobody could load a model")
        return self


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # not even what it is a part of
        return False


def _unknown_variable(name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name.upper(), known, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"{name} is not a setting{hint}"
