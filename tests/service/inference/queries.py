"""Queries about the tiny bundle, and how one is refused."""

import pytest

from rbm_service.errors import InvalidRequestError
from rbm_service.inference.preprocessing import encode

MAX_ROWS = 8
FEATURES = [0.5] * 12
POSITION = [1.0, -1.0, 0.25, 0.0]


def refusal(query, bundle):
    with pytest.raises(InvalidRequestError) as refused:
        encode(query, bundle, MAX_ROWS)
    return refused.value.detail
