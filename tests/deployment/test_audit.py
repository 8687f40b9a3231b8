import json
import subprocess
import sys

import pytest

from tests.deployment.audit import CLEAN, CONSTRAINTS, INCOMPLETE, PIP_AUDIT, VULNERABLE, main

GOOD = {"name": "numpy", "version": "2.2.0", "vulns": []}
UNKNOWN = {"name": "torch", "skip_reason": "Dependency not found"}
BAD = {
    "name": "idna",
    "version": "3.6",
    "vulns": [{"id": "PYSEC-2024-60", "fix_versions": ["3.7"], "aliases": ["CVE-2024-3651"]}],
}


def answering(*packages):
    """A command that writes what pip-audit writes about these packages."""
    return [sys.executable, "-c", f"print({json.dumps({'dependencies': packages, 'fixes': []})!r})"]


@pytest.mark.parametrize(
    ("packages", "status", "said"),
    [
        ([GOOD], CLEAN, "0 vulnerable and 0 not looked up of 1 packages"),
        ([GOOD, BAD], VULNERABLE, "idna 3.6: PYSEC-2024-60, fixed in 3.7"),
        ([GOOD, UNKNOWN], INCOMPLETE, "torch: not looked up: Dependency not found"),
        ([UNKNOWN, BAD], VULNERABLE, "1 vulnerable and 1 not looked up of 2 packages"),
        ([], INCOMPLETE, "of 0 packages"),
    ],
)
def test_the_exit_status_tells_good_from_bad_from_unknown(packages, status, said, capsys):
    assert main(answering(*packages)) == status
    captured = capsys.readouterr()
    assert said in captured.out + captured.err


def test_an_audit_that_could_ask_nobody_says_so(capsys):
    failing = "import sys; print('Traceback', file=sys.stderr); sys.exit('ConnectionError: nobody there')"
    assert main([sys.executable, "-c", failing]) == INCOMPLETE
    assert "INCOMPLETE, nothing could be looked up: ConnectionError: nobody there" in capsys.readouterr().err


def test_pip_audit_understands_what_it_is_told_and_finds_every_pin():
    num_pinned = sum("==" in line for line in CONSTRAINTS.read_text().splitlines())
    done = subprocess.run([*PIP_AUDIT, "--dry-run"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"would have audited {num_pinned} packages" in done.stderr
