"""Known vulnerabilities of what `constraints.txt` pins; `make audit` runs this.

pip-audit by itself ends with 0 even when it could look up nothing at all. Here the exit status tells apart:
0 every package was looked up and none has a known vulnerability, 1 some have, 3 none is known but not every
package could be looked up.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ValidationError

CONSTRAINTS: Final = Path(__file__).parents[2] / "constraints.txt"
CLEAN, VULNERABLE, INCOMPLETE = 0, 1, 3
PIP_AUDIT: Final = (
    *(sys.executable, "-m", "pip_audit", "--requirement", str(CONSTRAINTS)),
    *("--no-deps", "--disable-pip", "--format", "json", "--desc", "off", "--progress-spinner", "off"),
)


class Vulnerability(BaseModel):
    """One that is known, and the versions without it."""

    id: str
    fix_versions: tuple[str, ...]


class Package(BaseModel):
    """A pinned package; `skip_reason` says why it could not be looked up."""

    name: str
    version: str | None = None
    vulns: tuple[Vulnerability, ...] = ()
    skip_reason: str | None = None


class Report(BaseModel):
    """What pip-audit writes."""

    dependencies: tuple[Package, ...]


def main(command: Sequence[str] = PIP_AUDIT) -> int:
    """Ask, and say what is known; see the module for what the exit status means."""
    done = subprocess.run(command, capture_output=True, text=True)
    try:
        packages = Report.model_validate_json(done.stdout).dependencies
    except ValidationError:
        reason = (done.stderr.strip() or "no answer").splitlines()[-1]
        print(f"audit: INCOMPLETE, nothing could be looked up: {reason}", file=sys.stderr)
        return INCOMPLETE
    return verdict(packages)


def verdict(packages: Sequence[Package]) -> int:
    """Print every package that is vulnerable or was not looked up, and a line that sums up."""
    unknown = [package for package in packages if package.skip_reason is not None]
    vulnerable = [package for package in packages if package.vulns]
    for package in unknown:
        print(f"{package.name}: not looked up: {package.skip_reason}")
    for package in vulnerable:
        for known in package.vulns:
            fixed = ", ".join(known.fix_versions) or "no version yet"
            print(f"{package.name} {package.version}: {known.id}, fixed in {fixed}")
    counts = f"{len(vulnerable)} vulnerable and {len(unknown)} not looked up of {len(packages)} packages"
    if vulnerable:
        print(f"audit: FAILED, {counts}", file=sys.stderr)
        return VULNERABLE
    if unknown or not packages:
        print(f"audit: INCOMPLETE, {counts}", file=sys.stderr)
        return INCOMPLETE
    print(f"audit: good, {counts}")
    return CLEAN


if __name__ == "__main__":
    raise SystemExit(main())
