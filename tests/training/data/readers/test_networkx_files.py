import json

import networkx as nx
import pytest

from rbm_training.data.graph import UNLABELLED, GraphError
from rbm_training.data.readers.files import load_files


def cities(kind=nx.Graph):
    graph = kind()
    for name, size, label in [
        ("a b", 1.0, "north"),
        ("北京", 2.0, "south"),
        ("c", 0.5, None),
        ("d", 3, "north"),
    ]:
        graph.add_node(name, size=size, height=2, **({} if label is None else {"label": label}))
    graph.add_edge("a b", "北京", weight=0.5)
    graph.add_edge("北京", "c")
    graph.add_edge("北京", "a b")
    graph.add_edge("d", "d")
    return graph


def write(graph, path, **options):
    if path.suffix == ".graphml":
        nx.write_graphml(graph, path)
    else:
        path.write_text(json.dumps(nx.node_link_data(graph, **options)))
    return path


@pytest.mark.parametrize("suffix", [".graphml", ".json"])
@pytest.mark.parametrize("kind", [nx.Graph, nx.DiGraph, nx.MultiGraph])
def test_attributes_of_nodes_are_features_and_labels(tmp_path, suffix, kind):
    dataset = load_files(write(cities(kind), tmp_path / f"mine{suffix}"))
    graph = dataset.graph
    assert graph.node_ids.tolist() == ["a b", "北京", "c", "d"]
    assert graph.class_names == ("north", "south")
    assert graph.labels.tolist() == [0, 1, UNLABELLED, 0]
    assert graph.features.tolist() == [[1, 2], [2, 2], [0.5, 2], [3, 2]]
    assert len(dataset.feature_names) == 2
    assert graph.adjacency.nnz == 4
    assert dataset.source.edges.num_self_loops == 1
    assert "column weight" in dataset.source.unused[0]


def test_edges_may_be_called_links_and_features_a_list(tmp_path):
    graph = nx.path_graph(4)
    for node in graph:
        graph.nodes[node].update(features=[node, 0.5], label=node % 2)
    read = load_files(write(graph, tmp_path / "mine.json", edges="links")).graph
    assert read.node_ids.tolist() == [0, 1, 2, 3]
    assert read.features.tolist() == [[0, 0.5], [1, 0.5], [2, 0.5], [3, 0.5]]


def test_a_graph_without_attributes_but_labels_has_degrees(tmp_path):
    graph = nx.star_graph(3)
    nx.set_node_attributes(graph, {0: "hub", 1: "leaf"}, "label")
    assert not load_files(write(graph, tmp_path / "mine.graphml")).source.has_features


@pytest.mark.parametrize("named", [False, True])
def test_a_graph_without_edges_is_read(named, tmp_path):
    graph = nx.relabel_nodes(nx.empty_graph(3), str) if named else nx.empty_graph(3)
    nx.set_node_attributes(graph, dict(zip(graph, "ab", strict=False)), "label")
    assert load_files(write(graph, tmp_path / "mine.json")).graph.adjacency.nnz == 0


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("mine.json", "{", "no readable node-link JSON"),
        ("mine.json", '{"name": "a package"}', "no readable node-link JSON .*no object with lists of nodes"),
        ("mine.json", "[1]", "no readable node-link JSON .*no object with lists of nodes"),
        ("mine.graphml", "<a>", "no readable GraphML"),
        ("mine.graphml", "<a/>", "no readable GraphML"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(GraphError, match=f"{name}: found {message}"):
        load_files(tmp_path / name)


def test_attributes_of_several_types_and_missing_labels_are_refused(tmp_path):
    graph = nx.path_graph(3)
    with pytest.raises(GraphError, match=r"mine\.json: found no attribute label of the nodes"):
        load_files(write(graph, tmp_path / "mine.json"))
    graph.nodes[0]["label"], graph.nodes[1]["label"] = 1, "one"
    with pytest.raises(GraphError, match=r"mine\.json, nodes: found label of mixed types"):
        load_files(write(graph, tmp_path / "mine.json"))
    graph.nodes[1].update(label=2, node_id=7)
    with pytest.raises(
        GraphError, match=r"mine\.json, nodes: found an attribute node_id; wanted other names"
    ):
        load_files(write(graph, tmp_path / "mine.json"))
