"""Rates and quantiles: neither a restart nor an empty interval makes nonsense of them."""

from functools import partial

import pytest

BOUNDS = [0.001, 0.002, 0.004]
CALL = "async ([name, ...args]) => (await import('/console/rates.js'))[name](...args)"


@pytest.fixture(scope="module")
def call(browser, server):
    """Calls a function of the module in the browser."""
    page = browser.new_page()
    page.goto(f"{server.url}/console/icon.svg")
    yield lambda *args: page.evaluate(CALL, args)
    page.context.close()


@pytest.fixture(scope="module")
def read(call):
    """A reading at a time, of a service that counted this."""

    def read(time, uptime, requests, counts, *, rows=0, errors=0, version=1):
        stats = {
            "uptime_seconds": uptime,
            "requests": {"200": requests - errors, "422": errors},
            "latency": {"bounds_seconds": BOUNDS, "counts": counts},
        }
        return call("reading", time, stats, {"version": version, "rows": rows, "queued_rows": 3})

    return read


@pytest.mark.parametrize(
    ("counts", "share", "seconds"),
    [
        ([0, 0, 0, 0], 0.5, None),
        ([10, 0, 0, 0], 0.5, 0.0005),
        ([0, 10, 0, 0], 0.5, 0.0015),
        ([5, 5, 0, 0], 0.99, 0.00198),
        ([0, 0, 0, 10], 0.99, 0.004),
    ],
)
def test_a_quantile_lies_within_its_bucket(call, counts, share, seconds):
    assert call("quantile", BOUNDS, counts, share) == pytest.approx(seconds)


def test_rates_are_of_what_came_between_two_readings(call, read):
    earlier = read(0, 10, 100, [100, 0, 0, 0], rows=1000, errors=4)
    later = read(2, 12, 120, [100, 20, 0, 0], rows=1500, errors=5)
    assert call("follows", earlier, later)
    between = call("between", earlier, later)
    rates = {"requests": 10, "rows": 250, "errors": 0.5, "p50": 0.0015, "queued": 3, "time": 2}
    assert {name: between[name] for name in rates} == pytest.approx(rates)


@pytest.mark.parametrize(
    "change", [{"uptime": 1}, {"requests": 1}, {"counts": [1, 0, 0, 0]}, {"rows": 0}, {"version": 2}]
)
def test_after_a_restart_or_a_change_of_version_the_counters_begin_anew(call, read, change):
    same = {"uptime": 10, "requests": 100, "counts": [100, 0, 0, 0], "rows": 5}
    later = partial(read, 2)
    assert call("follows", read(0, **same), later(**same))
    assert not call("follows", read(0, **same), later(**same | change))
