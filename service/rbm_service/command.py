"""What `rbm-serve` does: read the settings, set up the log, serve; or make a key."""

import argparse
import asyncio
import gc
import os
import select
import signal
import sys
import textwrap
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, NoReturn

import structlog
import uvicorn
import uvloop
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from rbm_bundle import BundleError
from rbm_bundle.version import package_version
from rbm_service.api.dependencies import AppState
from rbm_service.app import create_app
from rbm_service.errors import EngineError
from rbm_service.observability.logging import configure_logging, flush_logs
from rbm_service.serving.supervisor import EngineLostError
from rbm_service.serving.watchdog import EXIT_ENGINE_LOST
from rbm_service.settings import ENV_PREFIX, Settings, service_links
from rbm_service.web.api_keys import ADMIN_NAME, NAME_PATTERN, KeyFileError, new_key
from rbm_service.web.connection import Connection
from rbm_service.web.server import Server

GARBAGE_THRESHOLDS: Final = (10_000, 20, 20)  # Python's own are 700, 10, 10
EXPECTED: Final = {  # by pydantic's names of errors
    "int_parsing": "a whole number",
    "float_parsing": "a number",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than_equal": "at most {le:g}",
    "url_parsing": "an address as in http://collector:4318",
}
STALLED_MILLISECONDS: Final = 1000  # that a reader of stderr may take before it is left alone

log = structlog.get_logger(__name__)


def run(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop, or make a key.

    Returns:
        0 after being told to stop, 1 when a model or the keys are not right, 2 when the settings are not,
        4 when an engine failed and could not be rebuilt.
    """
    given = _parser().parse_args(arguments)
    if given.new_key is not None:
        _print_key(given.new_key)
        return 0
    try:
        settings = Settings()
    except ValidationError as error:
        _print_error(_settings_message(error))
        return 2
    configure_logging(settings.log_format, settings.log_level)
    if links := service_links(os.environ):
        log.warning("ignoring the variables of Kubernetes service links", variables=sorted(links))
    try:
        uvloop.run(_serve(settings))
    except (KeyFileError, BundleError, EngineError, OSError) as error:
        log.error("startup failed", reason=str(error))
        return 1
    except EngineLostError:
        return _leave(EXIT_ENGINE_LOST)
    return _leave(0)


async def _serve(settings: Settings) -> None:
    """Run the lifespan around the server, so that what it raises arrives here and not in the server's log."""
    app = create_app(settings)
    _calm_garbage_collection()
    config = uvicorn.Config(
        app.request_middleware,
        host=settings.host,
        port=settings.port,
        http=Connection.within(
            settings.header_timeout_seconds, settings.body_timeout_seconds, app.body_budget
        ),
        ws="none",
        lifespan="off",
        proxy_headers=False,  # nothing here asks who the client is
        access_log=False,
        log_config=None,
    )
    app_state = app.app_state
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _look_anew, app_state)
    server = Server(config, app_state.models, settings.drain_seconds)
    app.on_engine_lost = server.drain_and_exit
    async with app.router.lifespan_context(app):
        await server.serve()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, server.handle_exit)  # the end goes on; a second signal cuts it short


def _calm_garbage_collection() -> None:
    """Look for cycles rarely, as requests leave hardly any, and not among what was imported, which stays."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)


def _look_anew(app_state: AppState) -> None:
    """Read the files of keys again, and look for promotions."""
    try:
        app_state.keys.read()
    except (KeyFileError, OSError) as error:
        log.error("keys refused, the old ones stay", reason=str(error))
    else:
        log.info("keys read")
    app_state.manager.wake()


def _leave(exit_code: int) -> int:
    """Everyone is answered: wait for no thread that still loads a model or computes what nobody reads."""
    if threading.active_count() > 1:
        flush_logs()
        os._exit(exit_code)
    return exit_code


def _key_name(text: str) -> str:
    if not NAME_PATTERN.fullmatch(text):
        raise argparse.ArgumentTypeError(f"expected up to 32 letters, digits, `.`, `_` or `-`, got {text!r}")
    return text


def _print_key(name: str) -> None:
    """Print the secret on stderr and the file's line on stdout, so that `>> FILE` adds what belongs there."""
    secret, line = new_key(name)
    file = "RBM_ADMIN_KEY_FILE" if name == ADMIN_NAME else "RBM_API_KEYS_FILE"
    sys.stderr.write(f"the key, which is shown this once:\n{secret}\nits line for {file}, on stdout:\n")
    sys.stdout.write(f"{line}\n")


def _print_error(text: str) -> None:
    """Write to stderr as far as it is read: a reader that is gone or stalls does not change how this ends."""
    if sys.stderr is None:
        return
    content = f"{text}\n".encode(errors="backslashreplace")
    with suppress(OSError):
        poll = select.poll()
        poll.register(sys.stderr.fileno(), select.POLLOUT)
        for start in range(0, len(content), select.PIPE_BUF):  # as much as does not block once there is room
            if not poll.poll(STALLED_MILLISECONDS):
                return
            os.write(sys.stderr.fileno(), content[start : start + select.PIPE_BUF])


class _Parser(argparse.ArgumentParser):
    """A parser whose errors end the process with 2, whether anybody reads them or not."""

    def error(self, message: str) -> NoReturn:
        _print_error(f"{self.format_usage()}{self.prog}: {message}")
        raise SystemExit(2)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="rbm-serve",
        description="Serve the promoted version of a model over HTTP.",
        epilog="\n".join(["settings, which are environment variables:", *_described_settings()]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--new-key",
        metavar="NAME",
        type=_key_name,
        help="make a key and end: its secret goes to stderr, its line for the file of keys to stdout; "
        f"the name `{ADMIN_NAME}` makes the admin key",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {package_version()}")
    return parser


def _described_settings() -> list[str]:
    lines = []
    for name, field in Settings.model_fields.items():
        default = "unset" if field.default is None else field.default
        lines.append(f"  {ENV_PREFIX}{name.upper()} (default: {default})")
        lines += textwrap.wrap(
            field.description or "", 100, initial_indent=" " * 6, subsequent_indent=" " * 6
        )
    return lines


def _settings_message(error: ValidationError) -> str:
    return "\n  ".join(["rbm-serve: these settings are wrong:", *map(_told, error.errors(include_url=False))])


def _told(item: ErrorDetails) -> str:
    """What is wrong with one setting, or with several together, which say it in their own words."""
    message = item["msg"].removeprefix("Value error, ")
    if not item["loc"]:
        return message
    template = EXPECTED.get(item["type"])
    expected = (
        template.format(**item.get("ctx", {})) if template else message.removeprefix("Input should be ")
    )
    return f"{ENV_PREFIX}{str(item['loc'][0]).upper()}: expected {expected}, got {item['input']}"
