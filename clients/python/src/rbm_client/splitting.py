"""Long batches in parts that the service takes."""

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from rbm_client.results import Limits

HEAD_BYTES: Final = 2048  # of a body: options, names, shapes


def parts(row_bytes: npt.NDArray[np.int64], limits: Limits) -> Iterator[slice]:
    """Yield the parts, in order, each of as many rows as one request may have.

    Args:
        row_bytes: what each row takes in a body, (N,). A row that is too long by itself is a part.
    """
    N, most_bytes = len(row_bytes), limits.max_body_bytes - HEAD_BYTES
    ends = np.cumsum(row_bytes)
    start = 0
    while start < max(N, 1):  # nothing is one part too: the service says what it thinks of that
        before = ends[start - 1] if start else 0
        fitting = int(np.searchsorted(ends, before + most_bytes, side="right"))
        end = max(min(start + limits.max_request_rows, fitting, N), start + 1)
        yield slice(start, end)
        start = end
