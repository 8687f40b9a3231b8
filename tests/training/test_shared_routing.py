"""A student of one router for all layers, from its experiment to the answers of a service."""

import json

import pytest

from rbm_bundle.bundle import read_bundle
from tests.classifying import classify, serve
from tests.training.objects import train


@pytest.mark.slow
def test_it_is_trained_exported_served_and_explained_by_its_first_layer(small_experiment, tmp_path):
    student = ("student.shared_routing=true", "student.routing_input=positions", "student.num_layers=3")
    assert train(small_experiment, tmp_path / "run", *student) == 0
    bundle = read_bundle(tmp_path / "run" / "bundle")
    architecture = bundle.manifest.architecture
    assert (len(architecture.layer_widths), architecture.num_experts) == (4, (4,))
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert len(report["expert_usage"]) == 1
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Specialisation, layer 0" in page
    assert "Specialisation, layer 1" not in page
    with serve(bundle, tmp_path / "models") as client:
        predictions = classify(client, node_ids=[0, 1, 2], explain=True)
        metrics = client.get("/metrics").text
    assert [[each["layer"] for each in row["experts"]] for row in predictions] == [[0, 0]] * 3
    assert 'layer="0"' in metrics
    assert 'layer="1"' not in metrics
