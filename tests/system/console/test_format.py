"""Numbers as the page shows them."""

import pytest

CALL = "async ([name, value]) => (await import('/console/format.js'))[name](value)"


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("short", 0.00012345, "0.000123"),
        ("short", 1234.5, "1,230"),
        ("short", 0, "0"),
        ("short", None, "–"),
        ("percent", 0.0001, "< 0.1\u00a0%"),
        ("percent", 0.9999, "> 99.9\u00a0%"),
        ("duration", 0.0000123, "0.0123\u00a0ms"),
    ],
)
def test_a_number_keeps_what_counts_of_it(browser, server, name, value, shown):
    page = browser.new_page()
    page.goto(f"{server.url}/console/icon.svg")
    assert page.evaluate(CALL, [name, value]) == shown
    page.context.close()
