import torch
from torch_geometric.nn import SAGEConv
from torch_geometric.utils import add_self_loops

from rbm_training.datasets.synthetic import generate_graph
from rbm_training.evaluate import accuracy
from rbm_training.teacher import GraphSage


def test_transforming_before_the_mean_gives_the_same_numbers_as_the_published_order():
    graph = generate_graph(seed=3)
    torch.manual_seed(0)
    model = GraphSage([32, 16, 4], dropout=0.0).eval()
    edges, _ = add_self_loops(torch.from_numpy(graph.edge_index), num_nodes=graph.num_nodes)
    x = torch.from_numpy(graph.dense_features())
    published = x
    for index, linear in enumerate(model.linears):
        conv = SAGEConv(linear.in_features, linear.out_features, aggr="mean", root_weight=False)
        conv.lin_l.load_state_dict(linear.state_dict())
        published = conv(published if index == 0 else published.relu(), edges)
    torch.testing.assert_close(model(x, edges), published, atol=1e-5, rtol=1e-5)


def test_a_layer_is_the_mean_over_neighbors_and_the_node_itself():
    model = GraphSage([1, 1], dropout=0.0)
    model.linears[0].weight.data.fill_(2.0)
    model.linears[0].bias.data.fill_(1.0)
    edges, _ = add_self_loops(torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]), num_nodes=4)
    logits = model(torch.tensor([[3.0], [6.0], [9.0], [5.0]]), edges)
    assert logits.flatten().tolist() == [2 * 4.5 + 1, 2 * 6 + 1, 2 * 7.5 + 1, 2 * 5 + 1]


def test_the_teacher_answers_for_every_node_and_measures_how_steady_it_is(prepared):
    teacher, task = prepared.teacher, prepared.task
    assert teacher.logits.shape == (task.observed.num_nodes, task.graph.num_classes)
    assert teacher.unseen_logits.shape == (len(task.unseen), task.graph.num_classes)
    assert (teacher.entropy_shift >= 0).all()
    assert teacher.entropy_shift.std() > 0
    labels = torch.from_numpy(task.observed.labels)
    assert accuracy(teacher.logits[task.val], labels[task.val]) > 0.7
