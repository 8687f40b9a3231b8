"""The Open Inference Protocol, as the client of Triton speaks it to a running service."""

import asyncio

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException

from rbm_bundle import read_bundle
from tests.bundles import TINY
from tests.system.open_inference import IDS, node_ids, probabilities_of_classify, serve, tensor


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    yield from serve(tmp_path_factory, read_bundle(TINY))


@pytest.fixture(scope="module")
def client(server):
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        yield client


def test_server_and_model_are_live_and_ready(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("tiny")
    assert client.is_model_ready("tiny", "1")
    assert not client.is_model_ready("tiny", "2")
    assert not client.is_model_ready("other")


def test_server_and_model_describe_themselves(client):
    server = client.get_server_metadata()
    assert server["name"] == "routing-by-memory"
    assert "binary_tensor_data" in server["extensions"]
    for version in ("", "1"):
        model = client.get_model_metadata("tiny", version)
        assert (model["name"], model["versions"]) == ("tiny", ["1"])
        assert [tensor["name"] for tensor in model["inputs"]] == ["node_ids", "features", "positions"]
        config = client.get_model_config("tiny", version)
        assert config["max_batch_size"] == 1024
        assert config["dynamic_batching"] == {}
        assert config["input"][1] == {
            "name": "features",
            "data_type": "TYPE_FP32",
            "dims": [12],
            "optional": True,
        }


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_probabilities_are_those_of_classify_to_the_bit(server, client, binary_in, binary_out, compression):
    result = client.infer(
        "tiny",
        [node_ids(binary=binary_in)],
        outputs=[triton.InferRequestedOutput("probabilities", binary_data=binary_out)],
        request_compression_algorithm=compression,
        response_compression_algorithm=compression,
    )
    wanted = probabilities_of_classify(server, node_ids=IDS.tolist())
    assert result.as_numpy("probabilities").astype(np.float32).tobytes() == wanted.tobytes()


def test_only_the_outputs_that_were_asked_for_come_and_the_id_comes_back(client):
    asked = [triton.InferRequestedOutput(name) for name in ("logits", "experts", "weights", "similarity")]
    result = client.infer("tiny", [node_ids()], outputs=asked, request_id="mine", model_version="1")
    response = result.get_response()
    assert response["id"] == "mine"
    assert [output["name"] for output in response["outputs"]] == [
        "logits",
        "experts",
        "weights",
        "similarity",
    ]
    assert result.as_numpy("probabilities") is None
    assert result.as_numpy("experts").shape == (3, 2, 2)
    assert result.as_numpy("weights").sum(axis=2) == pytest.approx(np.ones((3, 2)))
    by_default = client.infer("tiny", [node_ids()]).as_numpy("probabilities")
    logits = np.exp(result.as_numpy("logits"))
    assert (logits.argmax(axis=1) == by_default.argmax(axis=1)).all()


@pytest.mark.parametrize("binary", [True, False])
def test_a_classification_names_the_classes(server, client, binary):
    asked = triton.InferRequestedOutput("probabilities", binary_data=binary, class_count=2)
    found = client.infer("tiny", [node_ids()], outputs=[asked]).as_numpy("probabilities")
    classified = server.classify({"node_ids": IDS.tolist(), "top_k": 2})["predictions"]
    for texts, prediction in zip(found, classified, strict=True):
        for text, ranked in zip(texts, prediction["top_k"], strict=True):
            score, index, label = (text.decode() if binary else text).split(":")
            assert (int(index), label) == (ranked["class_index"], ranked["label"])
            assert float(score) == pytest.approx(ranked["probability"], abs=1e-6)


@pytest.mark.parametrize(
    ("inputs", "status", "said"),
    [
        ([node_ids(np.array([100, 7]))], "404", "1 unknown: 7"),
        ([tensor("node_ids", IDS.astype(np.int32), "INT32")], "422", "datatype"),
        ([tensor("features", np.zeros((1, 11), np.float32), "FP32")], "422", r"expected shape \[-1, 12\]"),
        ([tensor("node_ids", IDS, "INT64"), tensor("features", np.full((3, 12), np.nan, np.float32), "FP32")],
         "422", r"features\[0\]\[0\]: not a finite number"),
    ],
)  # fmt: skip
def test_the_client_raises_the_reason_that_the_service_gives(client, inputs, status, said):
    with pytest.raises(InferenceServerException, match=said) as raised:
        client.infer("tiny", inputs)
    assert raised.value.status() == status


def test_another_model_or_version_is_refused(client):
    with pytest.raises(InferenceServerException, match="no model 'other' is in service"):
        client.infer("other", [node_ids()])
    with pytest.raises(
        InferenceServerException, match="version 2 of tiny is not in service; in service: tiny 1"
    ):
        client.infer("tiny", [node_ids()], model_version="2")


def test_what_is_not_offered_is_named(client):
    for call in (
        client.get_system_shared_memory_status,
        client.get_cuda_shared_memory_status,
        client.get_trace_settings,
        client.get_log_settings,
    ):
        with pytest.raises(InferenceServerException, match="does not offer") as raised:
            call()
        assert raised.value.status() == "404"


def test_a_time_limit_is_kept_in_microseconds(client):
    assert client.infer("tiny", [node_ids()], timeout=60_000_000).as_numpy("probabilities").shape == (3, 3)
    with pytest.raises(InferenceServerException) as raised:
        client.infer("tiny", [node_ids()], timeout=1)
    assert raised.value.status() == "504"


def test_statistics_are_exact(client):
    def stats():
        (found,) = client.get_inference_statistics("tiny", "1")["model_stats"]
        assert client.get_inference_statistics()["model_stats"] == [found]
        return found

    before = stats()
    for num_rows in (1, 3, 200):
        client.infer("tiny", [node_ids(np.full(num_rows, 100))])
    with pytest.raises(InferenceServerException):
        client.infer("tiny", [node_ids(np.array([7]))])
    after = stats()
    assert after["inference_count"] - before["inference_count"] == 204
    assert after["execution_count"] - before["execution_count"] == 1 + 1 + 4  # batches of 64 rows
    for name, duration in after["inference_stats"].items():
        assert duration["count"] - before["inference_stats"][name]["count"] == 3
        assert duration["ns"] > before["inference_stats"][name]["ns"]
    parts = ("queue", "compute_input", "compute_infer", "compute_output")
    total = sum(after["inference_stats"][name]["ns"] for name in parts)
    assert after["inference_stats"]["success"]["ns"] == pytest.approx(total, abs=4)


def test_the_asynchronous_client_works_as_well(server):
    async def scenario():
        async with triton_aio.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
            assert await client.is_server_ready()
            assert await client.is_model_ready("tiny")
            assert (await client.get_model_metadata("tiny"))["name"] == "tiny"
            inputs = [tensor("node_ids", IDS, "INT64", module=triton_aio)]
            results = await asyncio.gather(
                *(
                    client.infer("tiny", inputs, request_compression_algorithm=algorithm)
                    for algorithm in (None, "gzip", "deflate")
                )
            )
            with pytest.raises(InferenceServerException, match="no model"):
                await client.infer("other", inputs)
            return [result.as_numpy("probabilities").tobytes() for result in results]

    wanted = probabilities_of_classify(server, node_ids=IDS.tolist()).tobytes()
    assert asyncio.run(scenario()) == [wanted] * 3


@pytest.mark.parametrize("binary", [True, False])
def test_features_and_positions_of_the_caller_are_taken(server, client, binary):
    generator = np.random.default_rng(0)
    features = generator.random((700, 12), np.float32)  # more than fit one batch, or are read in passing
    positions = generator.standard_normal((700, 4)).astype(np.float32)
    inputs = [tensor("features", features, "FP32", binary), tensor("positions", positions, "FP32", binary)]
    wanted = probabilities_of_classify(server, features=features.tolist(), positions=positions.tolist())
    assert client.infer("tiny", inputs).as_numpy("probabilities").tobytes() == wanted.tobytes()
