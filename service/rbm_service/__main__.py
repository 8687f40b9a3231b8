"""`rbm-serve`: read the settings, set up the log, serve."""

import argparse
import asyncio
import gc
import os
import signal
import sys
import textwrap
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Final

import structlog
import uvicorn
import uvloop
from prometheus_client import disable_created_metrics
from pydantic import ValidationError

from rbm_bundle import BundleError
from rbm_service.api.dependencies import AppState
from rbm_service.app import create_app
from rbm_service.observability.logging import configure_logging
from rbm_service.runtime.engine import EngineError
from rbm_service.serving.supervisor import EngineLostError
from rbm_service.serving.watchdog import EXIT_ENGINE_LOST
from rbm_service.settings import ENV_PREFIX, Settings
from rbm_service.web.api_keys import ADMIN_NAME, NAME_PATTERN, KeyFileError, new_key
from rbm_service.web.connection import Connection
from rbm_service.web.server import Server

GARBAGE_THRESHOLDS: Final = (10_000, 20, 20)  # Python's own are 700, 10, 10

log = structlog.get_logger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
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
        print(_settings_message(error), file=sys.stderr)
        return 2
    configure_logging(settings.log_format, settings.log_level)
    disable_created_metrics()  # type: ignore[no-untyped-call] # one more series for every counter, which nobody reads
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is something to look at
    try:
        uvloop.run(_serve(settings))
    except (KeyFileError, BundleError, EngineError, OSError) as error:
        log.error("cannot serve", reason=str(error))
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
        http=Connection.within(settings.header_timeout_seconds, settings.body_timeout_seconds),
        ws="none",
        lifespan="off",
        proxy_headers=False,  # nothing here asks who the client is
        access_log=False,
        log_config=None,
    )
    app_state = app.app_state
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _look_anew, app_state)
    async with app.router.lifespan_context(app):
        await Server(config, app_state.models, settings.drain_seconds).serve()


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
        os._exit(exit_code)
    return exit_code


def _stop(signal_number: int, frame: FrameType | None) -> None:
    """Before and after the server handles signals itself: leave, with everything closed behind us."""
    raise SystemExit(0)


def _key_name(text: str) -> str:
    if not NAME_PATTERN.fullmatch(text):
        raise argparse.ArgumentTypeError(f"found {text!r}, wanted up to 32 letters, digits, `.`, `_` or `-`")
    return text


def _print_key(name: str) -> None:
    secret, line = new_key(name)
    file = "RBM_ADMIN_KEY_FILE" if name == ADMIN_NAME else "RBM_API_KEYS_FILE"
    print(f"the key, which is kept nowhere:\n{secret}\nthe line for {file}:\n{line}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rbm-serve",
        description="Serve the promoted version of a model over HTTP. Settings are environment variables:",
        epilog="\n".join(_described_settings()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--new-key",
        metavar="NAME",
        type=_key_name,
        help=f"print a new key and the line that lets it in, and end; `{ADMIN_NAME}` is the admin key",
    )
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
    lines = ["rbm-serve: these settings are wrong:"]
    for item in error.errors(include_url=False):
        message = item["msg"].removeprefix("Value error, ")
        variables = [f"{ENV_PREFIX}{str(name).upper()}={item['input']}: " for name in item["loc"]]
        lines.append("  " + "".join(variables) + message)
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
