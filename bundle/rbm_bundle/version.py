"""The version of the distribution that all three packages come from."""

from importlib.metadata import PackageNotFoundError, version


def package_version() -> str:
    """The installed version, or `0+source` where the code is used without being installed."""
    try:
        return version("routing-by-memory")
    except PackageNotFoundError:
        return "0+source"
