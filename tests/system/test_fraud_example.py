"""The example of frauds among new accounts, on fewer of them."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


def test_frauds_among_new_accounts_are_found_by_whom_they_dealt_with(tmp_path):
    command = [sys.executable, str(ROOT / "examples" / "fraud.py"), "--out", str(tmp_path / "fraud")]
    sizes = ["--known", "2000", "--new", "2000"]
    done = subprocess.run([*command, *sizes], check=True, capture_output=True, text=True, timeout=600)
    assert "20 alarms" in done.stdout
    rows = [line.split("│") for line in done.stdout.splitlines() if line.startswith("│")]
    precision = {row[1].strip(): float(row[2]) for row in rows if row[2].strip()}
    assert precision["served"] > 0.03  # three times what a constant answer has
