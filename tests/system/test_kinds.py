"""Every kind of student walks the whole path: trained, exported, verified, served and explained."""

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from rbm_bundle import ModelRepository
from rbm_service.app import create_app
from rbm_service.settings import Settings
from rbm_training.config import load_config
from rbm_training.pipeline import run

EXPERIMENT = """
name = "kinds"
[dataset]
kind = "synthetic"
[teacher]
hidden = 16
max_epochs = 10
[positions]
width = 8
walk_length = 10
walks_per_node = 2
[student]
hidden = 16
moe_layers = "all"
[distill]
warmup_epochs = 2
max_epochs = 5
"""
KINDS = {
    "rbm": ({"kind": "rbm"}, (4, 4), (2, 2)),
    "distances": ({"metric": "euclidean", "routing_temperature": 0.5}, (4, 4), (2, 2)),
    "plain, then mixed": ({"kind": "rbm-head", "num_experts": [1, 4]}, (1, 4), (1, 2)),
    "mlp": ({"kind": "mlp"}, (1, 1), (1, 1)),
    "moe": ({"kind": "moe", "router_top_k": "k_plus_1"}, (4, 4), (3, 3)),
    "mlp-ensemble": ({"kind": "mlp-ensemble", "num_members": 2}, (1, 1), (1, 1)),
}


def trained(shape: dict[str, object], folder: Path) -> Path:
    """The folder of a bundle."""
    (folder / "kinds.toml").write_text(EXPERIMENT)
    settings = [f"student.{key}={value}" for key, value in shape.items()]
    return run(load_config(folder / "kinds.toml", settings), folder / "run").bundle.path


@pytest.mark.parametrize(("shape", "num_experts", "chosen"), KINDS.values(), ids=KINDS)
def test_a_student_of_any_kind_is_trained_served_and_explained(shape, num_experts, chosen, tmp_path):
    repository = ModelRepository(tmp_path / "models")
    repository.promote("kinds", repository.publish(trained(shape, tmp_path)))
    settings = Settings(models_dir=tmp_path / "models", device="cpu", max_batch_rows=4)
    with TestClient(create_app(settings)) as client:
        architecture = client.get("/info").json()["architecture"]
        assert architecture["student"] == shape.get("kind", "rbm")
        assert tuple(architecture["num_experts"]) == num_experts
        assert architecture["experts_per_row"] == max(chosen)
        answer = client.post("/classify", json={"node_ids": [0, 1, 2], "explain": True})
        assert answer.status_code == 200
        for prediction in answer.json()["predictions"]:
            layers = [expert["layer"] for expert in prediction["experts"]]
            assert layers == [layer for layer, K in enumerate(chosen) for _ in range(K)]
            assert all(0 <= item["expert"] < num_experts[item["layer"]] for item in prediction["experts"])
            shares = [item["weight"] for item in prediction["experts"] if item["layer"] == 0]
            assert 0 < sum(shares) <= 1 + 1e-6
        counted = client.get("/metrics").text
        last = f'expert="{num_experts[0] - 1}",layer="0",model_name="kinds"'
        assert f"rbm_expert_selected_total{{{last}}}" in counted
