import pickle

from rbm_training.data.graph import GraphError


def test_an_error_of_a_graph_reads_the_same_in_another_process():
    error = GraphError("mine.npz", "no edges", "some")
    assert str(pickle.loads(pickle.dumps(error))) == str(error) == "mine.npz: found no edges; wanted some"
