import json
import subprocess
import sys

import pytest

SETUP = """
import logging, os, sys, threading, warnings
import structlog
from rbm_service.observability.logging import configure_logging, flush_logs, log_access
configure_logging({log_format!r}, {level!r})
log = structlog.get_logger()
"""
PROGRAM = """
log.debug("hidden")
log.info("loaded", model="tiny")
for status in (200, 404):
    log_access({"status": status})
logging.getLogger("uvicorn.error").info("running on port %d", 8000)
try:
    1 / 0
except ZeroDivisionError:
    log.exception("failed")
"""


def lines_of(program, log_format="json", level="info", code=0, options=()):
    text = SETUP.format(log_format=log_format, level=level) + program
    result = subprocess.run(
        [sys.executable, *options, "-c", text], capture_output=True, text=True, timeout=60
    )
    assert (result.stdout, result.returncode) == ("", code), result.stderr
    return result.stderr.splitlines()


def test_json_logs_are_one_object_a_line_on_stderr_the_web_servers_lines_included():
    lines = [json.loads(line) for line in lines_of(PROGRAM)]
    assert [line["event"] for line in lines] == [
        *("loaded", "request", "request", "running on port 8000", "failed")
    ]
    assert lines[0]["model"] == "tiny"
    assert [line["status"] for line in lines[1:3]] == [200, 404]
    assert {line["level"] for line in lines} == {"info", "error"}
    assert [line["timestamp"] for line in lines] == sorted(line["timestamp"] for line in lines)
    assert "ZeroDivisionError" in lines[4]["exception"]


def test_console_logs_are_for_a_human():
    text = "\n".join(lines_of(PROGRAM, "console"))
    assert "loaded" in text
    assert "model=tiny" in text
    assert text.index("status=200") < text.index("status=404")
    assert "hidden" not in text


def test_a_level_above_info_leaves_out_access_lines():
    assert [json.loads(line)["event"] for line in lines_of(PROGRAM, level="warning")] == ["failed"]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_field_that_cannot_be_shown_costs_no_more_than_itself(log_format):
    program = """
class Shy:
    def __repr__(self):
        raise ValueError("not me")
log.info("a name", path="labels \\udcff")
log.info("an object", shy=Shy(), model="tiny", number=3)
log.info("a ring", ring=(ring := []), nothing=ring.append(ring))
logging.getLogger().info("a library's %s", "\\udcff")
"""
    lines = lines_of(program, log_format)
    assert len(lines) == 4
    assert all(
        word in line for word, line in zip(("a name", "an object", "a ring", "library"), lines, strict=True)
    )
    if log_format == "json":
        assert [json.loads(line)["level"] for line in lines] == ["info"] * 4


def test_what_python_itself_has_to_say_goes_the_same_way():
    program = """
warnings.warn("beware")
class Untidy:
    def __del__(self):
        raise ValueError("in the end")
Untidy()
def fail():
    raise KeyError("in a thread")
thread = threading.Thread(target=fail)
thread.start()
thread.join()
assert sys.stderr.fileno() == 2
raise LookupError("uncaught")
"""
    text = "\n".join(lines_of(program, code=1))
    assert all(word in text for word in ("beware", "in the end", "in a thread", "LookupError: uncaught"))


def test_lines_before_an_abrupt_end_are_written_where_they_are_flushed():
    lines = lines_of("log.error('the last')\nflush_logs()\nos._exit(4)\n", code=4)
    assert [json.loads(line)["event"] for line in lines] == ["the last"]


def test_a_crash_still_says_where():
    text = "\n".join(
        lines_of("import faulthandler\nfaulthandler._sigabrt()\n", code=-6, options=["-X", "faulthandler"])
    )
    assert "Fatal Python error: Aborted" in text


def test_a_crash_ends_the_process_though_nobody_reads():
    program = SETUP.format(log_format="json", level="info") + (
        "import faulthandler\n"
        "os.set_blocking(2, False)\n"
        "try:\n"
        "    while True: os.write(2, b'x' * 4096)\n"
        "except BlockingIOError: os.set_blocking(2, True)\n"
        "faulthandler._sigabrt()\n"
    )
    process = subprocess.Popen([sys.executable, "-X", "faulthandler", "-c", program], stderr=subprocess.PIPE)
    with process:
        assert process.wait(60) == -6
