"""Queries that tell the versions apart, and the counters of what was loaded."""

import numpy as np

from tests.bundles import KNOWN_IDS

LOADED = 'rbm_model_loads_total{model_name="tiny",outcome="loaded"}'
REFUSED = 'rbm_model_loads_total{model_name="tiny",outcome="refused"}'
FEATURES = [[0.1 * column for column in range(12)], [1.0] * 12, [float(column % 3) for column in range(12)]]
QUERIES = [
    {"node_ids": [100, 150, 195], "return_probabilities": True},
    {"node_ids": [105, 110, 115], "features": FEATURES, "return_probabilities": True},
    {"features": FEATURES, "neighbors": [[100, 105], [190], [7, 150]], "return_probabilities": True},
    {"node_ids": [*KNOWN_IDS, *KNOWN_IDS], "return_probabilities": True},  # too many rows to run on the loop
]


def probabilities_of(answer):
    return np.array([prediction["probabilities"] for prediction in answer["predictions"]])
