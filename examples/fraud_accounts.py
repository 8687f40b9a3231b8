"""Accounts that pay each other, one in a hundred a fraud: generated for examples/fraud.py.

Honest accounts deal mostly within their town. Frauds come in rings: half of what they do is within the ring,
the other half with victims anywhere. By its record alone a fraud is hard to tell: every column overlaps.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

FRAUD_SHARE = 0.01
TOWNS = 40
PAYMENTS = 4
RING_SIZE = 15
NEW_RINGS_SHARE = 0.3
NEAR_SHARES = {False: 0.8, True: 0.5}
CHANNELS = ("branch", "web", "app", "partner")
CHANNEL_SHARES = {False: (0.3, 0.3, 0.35, 0.05), True: (0.1, 0.3, 0.4, 0.2)}


@dataclass(frozen=True)
class Accounts:
    """N accounts in the order in which they were opened.

    Shapes: is_fraud (N,), of_new_ring (N,), pairs (M, 2).
    """

    is_fraud: np.ndarray
    of_new_ring: np.ndarray
    records: list[dict[str, Any]]
    pairs: np.ndarray

    def neighbors_before(self, account: int, end: int) -> list[int]:
        """Accounts numbered below `end` that this one has dealt with."""
        ends = self.pairs[(self.pairs == account).any(axis=1)]
        others = ends[ends != account]
        return sorted({int(other) for other in others if other < end})


def draw_accounts(num_known: int, num_new: int, seed: int) -> Accounts:
    """Accounts known at training, then new ones.

    Most new frauds join rings that are known; the others are of new rings, of which no account was there.
    """
    generator = np.random.default_rng(seed)
    num_accounts = num_known + num_new
    is_fraud = generator.random(num_accounts) < FRAUD_SHARE
    num_rings = max(int(is_fraud[:num_known].sum()) // RING_SIZE, 1)
    is_new = np.arange(num_accounts) >= num_known
    of_new_ring = is_fraud & is_new & (generator.random(num_accounts) < NEW_RINGS_SHARE)
    rings = generator.integers(num_rings, size=num_accounts) + num_rings * of_new_ring
    records = [_draw_record(generator, bool(fraud)) for fraud in is_fraud]
    return Accounts(is_fraud, of_new_ring, records, _draw_pairs(generator, is_fraud, rings))


def _draw_record(generator: np.random.Generator, fraud: bool) -> dict[str, Any]:
    """What a bank knows of an account by itself; a fifth do not say their income."""
    return {
        "age_days": int(generator.lognormal(6.0 - 0.6 * fraud, 1.0)),
        "mean_amount": round(float(generator.lognormal(4.0 + 0.5 * fraud, 0.8)), 2),
        "night_share": round(float(generator.beta(2 + fraud, 8)), 3),
        "income": None if generator.random() < 0.2 else int(generator.lognormal(7.8, 0.4)),
        "channel": str(generator.choice(CHANNELS, p=CHANNEL_SHARES[fraud])),
    }


def _draw_pairs(generator: np.random.Generator, is_fraud: np.ndarray, rings: np.ndarray) -> np.ndarray:
    """Who deals with whom (M, 2): four payments an account, mostly near it, in its town or in its ring."""
    num_accounts = len(is_fraud)
    towns = generator.integers(TOWNS, size=num_accounts)
    pairs = []
    for account in range(num_accounts):
        fraud = is_fraud[account]
        near = np.flatnonzero(is_fraud & (rings == rings[account]) if fraud else towns == towns[account])
        stays = generator.random(PAYMENTS) < NEAR_SHARES[bool(fraud)]
        anywhere = generator.integers(num_accounts, size=PAYMENTS)
        others = np.where(stays, generator.choice(near, PAYMENTS), anywhere)
        pairs += [(account, other) for other in others if other != account]
    return np.array(pairs)


def write_tables(accounts: Accounts, num_known: int, folder: Path) -> None:
    """Nodes, edges and labels of the accounts that are known, as `dataset.kind = "files"` reads them."""
    folder.mkdir(parents=True)
    known = (accounts.pairs < num_known).all(axis=1)
    names = np.where(accounts.is_fraud[:num_known], "fraud", "honest").tolist()
    rows = [{"node_id": i} | record for i, record in enumerate(accounts.records[:num_known])]
    pq.write_table(pa.Table.from_pylist(rows), folder / "nodes.parquet")
    source, target = accounts.pairs[known].T
    pq.write_table(pa.table({"source": source, "target": target}), folder / "edges.parquet")
    pq.write_table(pa.table({"node_id": range(num_known), "label": names}), folder / "labels.parquet")
