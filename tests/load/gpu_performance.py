"""docs/gpu.md, rendered from the results of `gpu_bench.py`; no figure on that page is typed by hand."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.load.http_bench import BY_ID, as_json, as_tensors
from tests.load.performance import Value
from tests.load.wrk import Request

TEMPLATE = Path(__file__).with_suffix(".template.md")
BATCHES = (1, 32, 128, 1024)
RIVALS = ("launched", "torch", "cpu")
REQUESTS: Final[Mapping[str, tuple[str, Request, int]]] = {  # title, what is sent, how many in flight
    "by_id_c1": ("by id, one in flight", BY_ID, 1),
    "by_id_c32": ("by id, 32 in flight", BY_ID, 32),
    "32x164_c32": ("32 rows of 164 numbers, 32 in flight", as_json(32), 32),
    "100x164_binary_c32": ("100 rows as binary tensors, 32 in flight", as_tensors(100), 32),
}


def render(results: Mapping[str, Value]) -> str:
    """The page.

    Raises:
        KeyError: a result is missing.
    """
    return TEMPLATE.read_text().format(
        **results,
        engine_rows="\n".join(_engine_row(results, num_rows) for num_rows in BATCHES),
        request_rows="\n".join(_request_row(results, name, title) for name, (title, *_) in REQUESTS.items()),
    )


def _engine_row(results: Mapping[str, Value], num_rows: int) -> str:
    rivals = [
        f"{results[f'{name}_b{num_rows}_us']:,.0f} µs | {results[f'captured_over_{name}_b{num_rows}']:.2f}×"
        for name in RIVALS
    ]
    return f"| {num_rows:,} | {results[f'captured_b{num_rows}_us']:,.0f} µs | {' | '.join(rivals)} |"


def _request_row(results: Mapping[str, Value], name: str, title: str) -> str:
    sides = [
        f"{results[f'rate_{side}_{name}']:,} | {results[f'median_{side}_{name}_us'] / 1000:.2f} ms"
        for side in ("cuda", "cpu")
    ]
    ratios = [f"{results[f'{measure}_cuda_over_cpu_{name}']:.2f}" for measure in ("rate", "cost")]
    return f"| {title} | {' | '.join(sides + ratios)} |"
