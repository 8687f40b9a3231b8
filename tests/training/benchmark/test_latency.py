import numpy as np
import pytest

from rbm_training.benchmark.latency import graph_file, measure_in_turns, measure_latencies, save_graph
from rbm_training.benchmark.records import ResultsFile
from rbm_training.export.parity import open_session
from tests.training.benchmark.run_lines import run_line
from tests.training.objects import student_for

DIGEST = "0123456789abcdef"
MINE = run_line(config_digest=DIGEST)
SAME = run_line(config_digest=DIGEST, method="rbm-same")
OTHER = run_line(config_digest=DIGEST[::-1], method="mlp")


@pytest.fixture
def file(tmp_path):
    results = ResultsFile(tmp_path / "results.jsonl")
    for line in (MINE, SAME, OTHER):
        results.append(line)
    return results


def test_the_graph_of_a_run_is_what_a_bundle_has_and_answers_its_rows(data, tmp_path):
    save_graph(tmp_path, MINE, student_for(data), data)
    session = open_session(graph_file(tmp_path, MINE).read_bytes())
    with np.load(graph_file(tmp_path, MINE).with_suffix(".npz")) as saved:
        inputs = {item.name: saved[f"128 {item.name}"] for item in session.get_inputs()}
    (probabilities,) = session.run(["probabilities"], inputs)
    assert probabilities.shape == (128, data.task.graph.num_classes)


def test_each_graph_has_a_time_for_a_row_alone_and_one_for_a_row_of_many(data, tmp_path):
    save_graph(tmp_path, MINE, student_for(data), data)
    (found,) = measure_in_turns([graph_file(tmp_path, MINE)])
    assert found.keys() == {"latency_us_1", "latency_us_128"}
    assert all(microseconds > 0 for microseconds in found.values())


def test_graphs_that_wait_are_timed_once_and_all_runs_of_the_same_student_say_it(file, data, tmp_path):
    save_graph(tmp_path / "graphs", MINE, student_for(data), data)
    measure_latencies(file, tmp_path / "graphs")
    mine, same, other = file.read()
    assert mine.latency_us_1 is not None
    assert (same.latency_us_1, same.latency_us_128) == (mine.latency_us_1, mine.latency_us_128)
    assert other == OTHER
    assert list((tmp_path / "graphs").iterdir()) == []


def test_where_no_graph_waits_the_lines_stay_as_they_are(file, tmp_path):
    measure_latencies(file, tmp_path / "graphs")
    assert file.read() == [MINE, SAME, OTHER]
