"""What `rbm-serve` does: read the settings, set up the log, serve; or make a key."""

import argparse
import asyncio
import gc
import os
import signal
import sys
import textwrap
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final, NoReturn

import structlog
import uvloop
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from rbm_bundle import BundleError
from rbm_bundle.version import package_version
from rbm_service.api.dependencies import AppState
from rbm_service.app import create_app
from rbm_service.errors import EngineError, reason_of
from rbm_service.observability.logging import STDERR, LogWriter, configure_logging, flush_logs
from rbm_service.serving.background import BackgroundThread
from rbm_service.serving.supervisor import EngineLostError
from rbm_service.serving.watchdog import EXIT_ENGINE_LOST
from rbm_service.settings import ENV_PREFIX, Settings, service_links
from rbm_service.web.api_keys import ADMIN_NAME, NAME_PATTERN, KeyFileError, KeyRing, new_key
from rbm_service.web.server import Server, server_config

STDOUT: Final = 1
GARBAGE_THRESHOLDS: Final = (10_000, 20, 20)  # Python's own are 700, 10, 10
EXPECTED: Final = {  # by pydantic's names of errors
    "int_parsing": "a whole number",
    "float_parsing": "a number",
    "finite_number": "a number",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than_equal": "at most {le:g}",
    "string_pattern_mismatch": "a prefix as in /rbm",
    "url_parsing": "an address as in http://collector:4318",
}

log = structlog.get_logger(__name__)


def run(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop, or make a key.

    Returns:
        0 after being told to stop, 1 when a model, the keys or the port are not right, or a new key could not
        be written, 2 when the settings are not, 4 when an engine failed and could not be rebuilt.
    """
    given = _parser().parse_args(arguments)
    if given.new_key is not None:
        return _print_key(given.new_key)
    try:
        settings = Settings()
    except ValidationError as error:
        lines = map(_told, error.errors(include_url=False))
        _print_error("\n  ".join(["rbm-serve: these settings are wrong:", *lines]))
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
    gc.collect()
    gc.freeze()  # what was imported stays, and requests leave hardly any cycles to look for
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    config = server_config(app.request_middleware, settings.header_timeout_seconds, app.body_limits)
    config.host, config.port = settings.host, settings.port
    app_state = app.app_state
    look = partial(_look_anew, app_state, BackgroundThread("rbm-keys"))
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, look)
    server = Server(config, app_state.models, settings.drain_seconds)
    app.on_engine_lost = server.drain_and_exit
    async with app.router.lifespan_context(app):
        await server.serve()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, server.handle_exit)  # the end goes on; a second signal cuts it short


def _look_anew(app_state: AppState, thread: BackgroundThread) -> None:
    """Look for promotions, and read the files of keys again: in a thread, for a disk may hang."""
    app_state.manager.wake()
    thread.submit(_read_keys, app_state.keys)


def _read_keys(keys: KeyRing) -> None:
    try:
        keys.read()
    except Exception as error:  # noqa: BLE001 - the unit of work is this look at the files
        log.error("keys refused, the old ones stay", reason=reason_of(error))
    else:
        log.info("keys read")


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


def _print_key(name: str) -> int:
    """Print the file's line on stdout, so that `>> FILE` adds it, and then the secret on stderr.

    Returns:
        0, or 1 where one of them could not be written: no secret is shown whose line is lost.
    """
    secret, line = new_key(name)
    file = "RBM_ADMIN_KEY_FILE" if name == ADMIN_NAME else "RBM_API_KEYS_FILE"
    told = f"the line for {file} is on stdout; the key, which is shown this once:\n{secret}"
    try:
        for descriptor, text in ((STDOUT, line), (STDERR, told)):
            with open(descriptor, "w", closefd=False) as stream:
                stream.write(f"{text}\n")
    except OSError as error:
        _print_error(f"rbm-serve: the key cannot be written: {error}")
        return 1
    return 0


def _print_error(text: str) -> None:
    """Write to stderr as far as it is read: a reader that is gone or stalls does not change how this ends."""
    if sys.stderr is not None:
        writer = LogWriter(partial(os.write, sys.stderr.fileno()), str)
        writer.write(f"{text}\n")
        writer.drain(1.0)


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


def _described_settings() -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        default = "unset" if field.default is None else field.default
        yield f"  {ENV_PREFIX}{name.upper()} (default: {default})"
        yield textwrap.indent(textwrap.fill(field.description or "", 94), " " * 6)


def _told(item: ErrorDetails) -> str:
    """What is wrong with one setting; checks of the service's own say that themselves."""
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "value_error":
        return message
    template = EXPECTED.get(item["type"])
    expected = (
        template.format(**item.get("ctx", {})) if template else message.removeprefix("Input should be ")
    )
    return f"{ENV_PREFIX}{str(item['loc'][0]).upper()}: expected {expected}, got {item['input']}"
