"""Where a body is cut into parts, what is wrong with it is said as anywhere else."""

import pytest

from rbm_service.api import number_arrays
from rbm_service.api.classify import read_long
from rbm_service.errors import ServiceError


@pytest.mark.parametrize(
    ("raw", "detail"),
    [
        (
            b'{"positions":[[1.5,2,{"a":[1]}],[1]]}',
            "positions[0][2]: expected a finite number, got an object",
        ),
        (b'{"features":{"indptr":[0,1,2,3,4,5,6,],"indices":[]}}', "Invalid JSON: expected value"),
        (b'{"features":[[1.5,2.5,3.5],]}', "Invalid JSON: trailing comma"),
        (b'{"features":[[1.5,2.5,3.5][4]]}', "Invalid JSON: expected `,`"),
    ],
)
def test_what_is_wrong_between_two_parts_is_named(monkeypatch, raw, detail):
    monkeypatch.setattr(number_arrays, "PART_BYTES", 12)
    with pytest.raises(ServiceError) as refused:
        read_long(raw, max_rows=10)
    assert refused.value.detail.startswith(detail)


LONG_ROW = b"[" + b",".join([b"1"] * 81_920) + b"]"


@pytest.mark.parametrize(
    ("row", "detail"),
    [
        (b"5[" + b",".join([b"2"] * 143_360) + b",44]", "Invalid JSON"),
        (b"x[" + b",".join([b"2"] * 143_360) + b",44]", "Invalid JSON"),
        (b"[" + b" " * 300_000 + b"]", None),
    ],
)
def test_a_row_longer_than_two_parts_is_a_row_or_refused(row, detail):
    raw = b'{"features":[' + LONG_ROW + b"," + row + b"]}"
    if detail is None:
        assert [len(each) for each in read_long(raw, max_rows=10)[1].features] == [81_920, 0]
        return
    with pytest.raises(ServiceError) as refused:
        read_long(raw, max_rows=10)
    assert refused.value.detail.startswith(detail)
