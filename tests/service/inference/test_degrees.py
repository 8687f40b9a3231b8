"""A model whose features are degrees makes them of the neighbours that a request names."""

from dataclasses import replace

import numpy as np
import pytest

from rbm_bundle.degrees import DEGREE_FEATURES, degree_features
from rbm_bundle.features import csr_from_dense
from rbm_service.inference.node_query import NodeQuery
from rbm_service.inference.preprocessing import encode
from tests.bundles import KNOWN_IDS
from tests.service.inference.queries import MAX_ROWS, refusal

CACHED = degree_features(np.arange(len(KNOWN_IDS)))


@pytest.fixture
def of_degrees(bundle):
    """The tiny bundle as if its features were degrees, node i of degree i."""
    spec = bundle.manifest.features.model_copy(update={"names": DEGREE_FEATURES, "num_features": 2})
    manifest = bundle.manifest.model_copy(update={"features": spec})
    return replace(bundle, manifest=manifest, nodes=replace(bundle.nodes, features=CACHED))


def features_of(bundle, **columns):
    return encode(NodeQuery(**columns), bundle, MAX_ROWS).overrides["features"].tolist()


def test_neighbours_known_or_not_count_once(of_degrees):
    found = features_of(of_degrees, neighbors=[[100, 110], [100, 7, 7], []])
    assert found == degree_features(np.array([2, 2, 0])).tolist()


@pytest.mark.parametrize("form", [np.asarray, csr_from_dense])
def test_rows_that_name_none_are_looked_up(of_degrees, form):
    of_degrees = replace(of_degrees, nodes=replace(of_degrees.nodes, features=form(CACHED)))
    found = features_of(of_degrees, node_ids=[7, 195, 195], neighbors=[[100], None, [100]])
    assert found == degree_features(np.array([1, 19, 1])).tolist()


def test_features_of_the_caller_win(of_degrees):
    assert features_of(of_degrees, neighbors=[[100]], features=[[1, 5]]) == [[1, 5]]


def test_unknown_rows_without_neighbours_are_left_out_alone(of_degrees):
    query = NodeQuery(node_ids=[7, 8, 100], neighbors=[[100], None, None], on_unknown="null")
    rows = encode(query, of_degrees, MAX_ROWS)
    assert (list(rows.unknown), rows.answered) == ([1], [0, 2])
    assert rows.overrides["features"].tolist() == degree_features(np.array([1, 0])).tolist()


def test_what_is_missing_is_told_with_what_it_is_made_of(of_degrees):
    query = NodeQuery(node_ids=[7], positions=[[0.0] * 4])
    wanted = "features: these (1, log(1 + degree)), or neighbors to make them of, are required: "
    assert refusal(query, of_degrees).startswith(wanted)


def test_a_model_of_other_features_makes_none(bundle):
    assert refusal(NodeQuery(neighbors=[[100]]), bundle).startswith("features: required: no cached node")
