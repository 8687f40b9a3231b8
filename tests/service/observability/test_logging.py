import json
import subprocess
import sys

PROGRAM = """
import logging
import structlog
from rbm_service.observability.logging import configure_logging, info_each
configure_logging({log_format!r}, "info")
log = structlog.get_logger()
log.debug("hidden")
log.info("loaded", model="tiny")
info_each(log.bind(by="us"), "request", [{{"status": 200}}, {{"status": 404}}])
logging.getLogger("uvicorn.error").info("running on port %d", 8000)
try:
    1 / 0
except ZeroDivisionError:
    log.exception("failed")
"""


def lines_of(log_format):
    program = PROGRAM.format(log_format=log_format)
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == ""
    return result.stderr


def test_json_logs_are_one_object_a_line_on_stderr_the_web_servers_lines_included():
    lines = [json.loads(line) for line in lines_of("json").splitlines()]
    assert [line["event"] for line in lines] == [
        *("loaded", "request", "request", "running on port 8000", "failed")
    ]
    assert lines[0]["model"] == "tiny"
    assert [(line["status"], line["by"]) for line in lines[1:3]] == [(200, "us"), (404, "us")]
    assert {line["level"] for line in lines} == {"info", "error"}
    assert all("timestamp" in line for line in lines)
    assert "ZeroDivisionError" in lines[4]["exception"]


def test_console_logs_are_for_a_human():
    text = lines_of("console")
    assert "loaded" in text
    assert "model=tiny" in text
    assert text.index("status=200") < text.index("status=404")
    assert "hidden" not in text
