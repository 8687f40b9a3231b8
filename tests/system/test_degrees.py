"""A graph of edges and labels alone, from its tables to an answer about a node that names its neighbours."""

import math

import pyarrow as pa
import pyarrow.csv as pa_csv

from rbm_bundle import read_bundle
from rbm_training.data.builtin.synthetic import generate_graph
from tests.classifying import serve
from tests.training.objects import SMALL_EXPERIMENT, train


def test_neighbours_are_all_that_a_new_node_needs(tmp_path):
    graph, own = generate_graph(0), tmp_path / "mine"
    own.mkdir()
    source, target = map(pa.array, graph.edge_index)
    pa_csv.write_csv(pa.table({"source": source, "target": target}), own / "edges.csv")
    labels = {"node_id": pa.array(graph.node_ids), "label": pa.array(graph.labels)}
    pa_csv.write_csv(pa.table(labels), own / "labels.csv")
    experiment = SMALL_EXPERIMENT.replace('kind = "synthetic"', 'kind = "files"\npath = "mine"')
    (tmp_path / "mine.toml").write_text(experiment)
    assert train(tmp_path / "mine.toml", tmp_path / "run") == 0

    told = (
        "1, log(1 + degree). The graph had none; a request that names a node's neighbours need not send them"
    )
    assert told in (tmp_path / "run" / "bundle" / "MODEL_CARD.md").read_text()
    neighbors = [graph.node_ids[:3].tolist(), graph.node_ids[5:6].tolist()]
    by_hand = {"features": [[1, math.log(4)], [1, math.log(2)]], "neighbors": neighbors}
    with serve(read_bundle(tmp_path / "run" / "bundle"), tmp_path / "models") as client:
        assert client.get("/info").json()["features"]["names"] == ["1", "log(1 + degree)"]
        found = client.post("/classify", json={"neighbors": neighbors})
        assert found.status_code == 200
        assert found.json() == client.post("/classify", json=by_hand).json()
