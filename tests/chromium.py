"""Whether there is a browser to look at the console with."""

import importlib.util
from pathlib import Path

CHROMIUM = Path("/usr/bin/chromium")


def why_no_chromium() -> str | None:
    """The reason that Chromium cannot be driven here, or None."""
    if not CHROMIUM.exists():
        return f"there is no {CHROMIUM} (Debian's package chromium)"
    if importlib.util.find_spec("playwright") is None:
        return "playwright is not installed (the extra `dev` has it)"
    return None
