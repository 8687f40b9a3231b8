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
