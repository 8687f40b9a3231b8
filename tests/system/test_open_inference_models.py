"""The Open Inference Protocol where a model has string ids or sparse features."""

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from rbm_bundle import read_bundle
from tests.bundles import STRING_IDS, TINY, with_string_ids
from tests.system.open_inference import node_ids, probabilities_of_classify, serve, tensor


@pytest.mark.parametrize("binary", [True, False])
def test_a_model_with_string_ids_takes_bytes(tmp_path_factory, tmp_path, binary):
    bundle = with_string_ids(read_bundle(TINY), tmp_path / "strings")
    for server in serve(tmp_path_factory, bundle):
        with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
            ids = np.array(STRING_IDS[:3], np.object_)
            found = client.infer("tiny", [tensor("node_ids", ids, "BYTES", binary)]).as_numpy("probabilities")
            wanted = probabilities_of_classify(server, node_ids=STRING_IDS[:3])
            assert found.tobytes() == wanted.tobytes()
            with pytest.raises(InferenceServerException, match="expected datatype BYTES, got INT64"):
                client.infer("tiny", [node_ids()])


@pytest.mark.parametrize("binary", [True, False])
def test_a_sparse_model_takes_padded_pairs_and_dense_rows(tmp_path_factory, binary):
    bundle = read_bundle(TINY.with_name("sparse_bundle"))
    name = bundle.manifest.name
    for server in serve(tmp_path_factory, bundle):
        with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
            listed = [entry["name"] for entry in client.get_model_metadata(name)["inputs"]]
            assert listed == ["node_ids", "feature_ids", "feature_values", "positions"]
            rows = bundle.nodes.features_of(np.arange(5))
            padded, ids = rows.to_padded(), tensor("node_ids", np.arange(5), "INT64", binary)
            pair = [
                tensor("feature_ids", padded.ids, "INT64", binary),
                tensor("feature_values", padded.values, "FP32", binary),
            ]
            dense = [tensor("features", rows.to_dense(), "FP32", binary)]
            wanted = probabilities_of_classify(server, node_ids=list(range(5))).tobytes()
            for inputs in ([ids], [ids, *pair], [ids, *dense]):
                assert client.infer(name, inputs).as_numpy("probabilities").tobytes() == wanted
