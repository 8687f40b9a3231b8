"""Frauds among accounts that are opened after training: `python examples/fraud.py`.

Generated accounts, one in a hundred a fraud. A model is trained on those that are known, published, and
served. New accounts come with a record and the ids of accounts that they have dealt with. An operator
can look into one account in a hundred, and wants to know how many of these alarms are right and how
many frauds they find. Logistic regression on the same records, without the graph, stands beside.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from rich.table import Table
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fraud_accounts import CHANNELS, Accounts, draw_accounts, write_tables
from rbm_client import Client
from walkthrough import ROOT, command, console, service, step

# Each account's place is also how much fraud lies around it; the account's own label is left out of that.
EXPERIMENT = """
name = "fraud"
[dataset]
kind = "files"
path = "accounts"
[scaling]
features = "standardised"
[teacher]
kind = "sage"
max_epochs = 150
[positions]
label_propagation = true
[student]
kind = "rbm-head"
[distill]
max_epochs = 100
[export]
refit = false
"""
ALARM_SHARE = 0.01


def main() -> None:
    """Draw accounts, train, publish, serve, score the new ones, and show what an operator would see."""
    parser = argparse.ArgumentParser(description="Find frauds among new accounts.")
    parser.add_argument("--known", type=int, default=8000, help="accounts to learn from")
    parser.add_argument("--new", type=int, default=6000, help="accounts that come after training")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / f"fraud-{time.strftime('%Y%m%d-%H%M%S')}")
    options = parser.parse_args()
    accounts = draw_accounts(options.known, options.new, seed=0)
    folder = options.out.absolute()

    step("1. Train", f"{options.known:,} accounts, {accounts.is_fraud[: options.known].sum()} frauds")
    write_tables(accounts, options.known, folder / "accounts")
    (folder / "fraud.toml").write_text(EXPERIMENT)
    command("rbm-train", "run", str(folder / "fraud.toml"), "--out", str(folder / "run"))

    step("2. Publish and serve", "from a repository of its own")
    models = str(folder / "models")
    command("rbm-models", "--models-dir", models, "publish", str(folder / "run" / "bundle"), "--promote")
    with service(folder / "models", "fraud") as url, Client(url) as client:
        step("3. Score", f"{options.new:,} new accounts, by record and known accounts that they dealt with")
        scores = {
            "served": served_scores(client, accounts, options.known),
            "logistic regression": baseline_scores(accounts, options.known),
        }
    step("4. What an operator sees", f"alarms for the highest {ALARM_SHARE:.0%} of the scores")
    console.print(alarm_table(accounts, options.known, scores))


def served_scores(client: Client, accounts: Accounts, num_known: int) -> np.ndarray:
    """Probabilities of fraud for new accounts, by their records and neighbours."""
    found = client.classify(
        records=accounts.records[num_known:],
        neighbors=[accounts.neighbors_before(i, num_known) for i in range(num_known, len(accounts.records))],
        return_probabilities=True,
    )
    return found.probabilities[:, client.info().labels.index("fraud")]


def baseline_scores(accounts: Accounts, num_known: int) -> np.ndarray:
    """The same by logistic regression on the records, which sees no graph."""
    records = [dict(record) for record in accounts.records]
    channels = [record.pop("channel") for record in records]
    numbers = np.array([list(record.values()) for record in records], dtype=float)
    rows = np.hstack([numbers, np.equal.outer(channels, CHANNELS)])
    model = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression())
    model.fit(rows[:num_known], accounts.is_fraud[:num_known])
    return model.predict_proba(rows[num_known:])[:, 1]


def alarm_table(accounts: Accounts, num_known: int, scores: dict[str, np.ndarray]) -> Table:
    """Average precision, and what the alarms are worth, with frauds of known rings and of new ones apart."""
    fraud, of_new_ring = accounts.is_fraud[num_known:], accounts.of_new_ring[num_known:]
    num_alarms = round(len(fraud) * ALARM_SHARE)
    table = Table("", "average precision", "threshold", "precision", "recall", "known rings", "new rings")
    table.caption = f"{num_alarms} alarms and {fraud.sum()} frauds among {len(fraud):,} new accounts"
    for name, score in scores.items():
        alarms = np.argsort(-score, stable=True)[:num_alarms]
        found = np.zeros_like(fraud)
        found[alarms] = fraud[alarms]
        table.add_row(
            name,
            f"{average_precision_score(fraud, score):.2f}",
            f"{score[alarms[-1]]:.3f}",
            f"{found.sum() / num_alarms:.2f}",
            f"{found.sum() / fraud.sum():.2f}",
            *(f"{(found & kind).sum()} of {(fraud & kind).sum()}" for kind in (~of_new_ring, of_new_ring)),
        )
    return table


if __name__ == "__main__":
    main()
