import random
from pathlib import Path

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper, numpy_helper

from rbm_bundle.bundle import read_bundle
from rbm_bundle.errors import BundleError
from rbm_bundle.onnx_file import RECORD_DOMAINS, check_onnx_file
from tests.bundles import TINY, with_cpu_graph

GRAPHS = sorted((Path(__file__).parents[1] / "data").glob("*/*.onnx"))
IDENTITY = helper.make_node("Identity", ["x"], ["y"])
FOREIGN = helper.make_node("Identity", ["x"], ["y"], domain="com.example")


def tensor(name="weight", external=False):
    made = numpy_helper.from_array(np.ones(3, np.float32), name)
    if external:
        onnx.external_data_helper.set_external_data(made, "../weights.bin")
    return made


def graph(*nodes, **parts):
    return helper.make_graph(list(nodes) or [IDENTITY], "graph", [], [], **parts)


def model(of_graph, **parts):
    return helper.make_model(of_graph, opset_imports=[helper.make_opsetid("", 21)], **parts)


def with_branch(branch):
    return helper.make_node("If", ["condition"], ["y"], then_branch=branch, else_branch=graph())


def sparse(values, external_indices=False):
    indices = tensor("indices", external=external_indices)
    indices.data_type = TensorProto.INT64
    return helper.make_sparse_tensor(values, indices, [3])


def function(*nodes, domain="", imports=("",)):
    opsets = [helper.make_opsetid(name, 21) for name in imports]
    return helper.make_function(domain, "f", ["x"], ["y"], list(nodes), opsets)


def with_training(part, of_graph):
    made = model(graph())
    getattr(made.training_info.add(), part).CopyFrom(of_graph)
    return made


def with_default(attribute):
    made = function(IDENTITY)
    made.attribute_proto.append(attribute)
    return made


def constant(**attributes):
    return helper.make_node("Constant", [], ["y"], **attributes)


FOREIGN_OPERATORS = {
    "in the graph": model(graph(FOREIGN)),
    "among the imports": helper.make_model(graph(), opset_imports=[helper.make_opsetid("com.example", 1)]),
    "in a branch": model(graph(with_branch(graph(with_branch(graph(FOREIGN)))))),
    "among several graphs": model(
        graph(helper.make_node("Many", [], ["y"], bodies=[graph(), graph(FOREIGN)]))
    ),
    "in a function": model(graph(), functions=[function(FOREIGN)]),
    "as the domain of a function": model(graph(), functions=[function(IDENTITY, domain="com.example")]),
    "among a function's imports": model(graph(), functions=[function(IDENTITY, imports=("", "com.example"))]),
    "in a training graph": with_training("algorithm", graph(FOREIGN)),
    "in what starts a training": with_training("initialization", graph(FOREIGN)),
}
EXTERNAL_DATA = {
    "a weight": model(graph(initializer=[tensor(external=True)])),
    "a sparse weight": model(graph(sparse_initializer=[sparse(tensor(external=True))])),
    "the places of a sparse weight": model(
        graph(sparse_initializer=[sparse(tensor(), external_indices=True)])
    ),
    "a constant": model(graph(constant(value=tensor(external=True)))),
    "a list of constants": model(graph(constant(values=[tensor(), tensor(external=True)]))),
    "a sparse constant": model(graph(constant(sparse_value=sparse(tensor(external=True))))),
    "sparse constants": model(graph(constant(sparse_values=[sparse(tensor(external=True))]))),
    "a weight in a branch": model(graph(with_branch(graph(initializer=[tensor(external=True)])))),
    "a constant in a function": model(graph(), functions=[function(constant(value=tensor(external=True)))]),
    "the default of a function": model(
        graph(), functions=[with_default(helper.make_attribute("value", tensor(external=True)))]
    ),
}


@pytest.fixture
def refused(tmp_path):
    def refused(content, match):
        path = tmp_path / "graph.onnx"
        path.write_bytes(content)
        with pytest.raises(BundleError, match=match) as refusal:
            check_onnx_file(path)
        assert refusal.value.file == str(path)

    return refused


@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_the_exporter_writes_is_let_through(path):
    check_onnx_file(path, RECORD_DOMAINS if path.name == "records.onnx" else ())


def test_a_graph_with_every_harmless_part_is_let_through(tmp_path):
    path = tmp_path / "graph.onnx"
    parts = graph(
        with_branch(graph(constant(sparse_value=sparse(tensor())))),
        helper.make_node("Relu", ["y"], ["z"], domain="ai.onnx", doc_string="text"),
        initializer=[tensor()],
        sparse_initializer=[sparse(tensor())],
    )
    made = model(parts, functions=[function(IDENTITY)])
    helper.set_model_props(made, {"author": "somebody"})
    path.write_bytes(made.SerializeToString() + b"\xf8\x07\x01")  # field 127, of a later version
    check_onnx_file(path)


@pytest.mark.parametrize("place", FOREIGN_OPERATORS)
def test_operators_of_another_domain_are_refused_wherever_they_are(place, refused):
    refused(
        FOREIGN_OPERATORS[place].SerializeToString(),
        "expected operators of ONNX itself, got .*'com.example'",
    )


@pytest.mark.parametrize("place", EXTERNAL_DATA)
def test_data_in_another_file_are_refused_wherever_they_are(place, refused):
    refused(EXTERNAL_DATA[place].SerializeToString(), "data lie in another file")


@pytest.mark.parametrize("location", [TensorProto.EXTERNAL, 2**32 + TensorProto.EXTERNAL])
def test_a_location_alone_is_enough_and_counts_as_protobuf_cuts_it(location, refused):
    number = b"".join(bytes([location >> shift & 0x7F | 0x80]) for shift in range(0, 35, 7)) + b"\0"
    weight = b"\x70" + number  # field 14 of the tensor
    inner = b"\x2a" + bytes([len(weight)]) + weight  # field 5 of the graph
    refused(b"\x3a" + bytes([len(inner)]) + inner, "data lie in another file")


def test_a_graph_that_is_written_in_two_parts_is_read_in_both(refused):
    refused(model(graph()).SerializeToString() + model(graph(FOREIGN)).SerializeToString(), "com.example")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "an empty file"),
        (b"\x08\x0a", "no graph"),
        (b"\x3a\x05\x0a", "4 bytes too few"),
        (b"\x3a" + b"\xff" * 10, "a number without end"),
        (b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "bytes too few"),
        (b"\x00\x00", "no protobuf field at byte 0"),
        (b"\x3b", "no protobuf field at byte 0"),  # a group
        (b"\xba\x80\x80\x80\x80\x01\x00", "no protobuf field at byte 0"),  # field 7, were it cut to 32 bits
        (b"\x38\x01", "where bytes belong"),
        (b"PK\x03\x04 no model at all", "no protobuf field|too few"),
        (b"\x08\x01" * 1_000_001, "more than 1000000 fields"),
    ],
)
def test_what_is_no_model_is_refused(content, match, refused):
    refused(content, match)


def test_no_truncated_model_is_let_through_or_fails_in_another_way(tmp_path):
    path = tmp_path / "graph.onnx"
    content = model(graph(with_branch(graph(initializer=[tensor()])))).SerializeToString()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        try:
            check_onnx_file(path)
        except BundleError:
            continue
        onnx.load_model_from_string(content[:length])  # cut between two fields: a model as it stands


def test_what_is_let_through_is_nothing_that_the_real_parser_reads_otherwise(tmp_path):
    path = tmp_path / "graph.onnx"
    content = model(graph(with_branch(graph(initializer=[tensor()])))).SerializeToString()
    generator = random.Random(7)
    for _ in range(3000):
        changed = bytearray(content)
        for _ in range(generator.randrange(1, 4)):
            changed[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
        path.write_bytes(changed)
        try:
            check_onnx_file(path)
        except BundleError:
            continue
        assert holds_only_what_is_allowed(bytes(changed))


def holds_only_what_is_allowed(content):
    try:
        read = onnx.load_model_from_string(content)
    except DecodeError:  # refused there as well
        return True
    nodes = [node for one in graphs_of(read.graph) for node in one.node]
    weights = [weight for one in graphs_of(read.graph) for weight in one.initializer]
    return all(node.domain in ("", "ai.onnx") for node in nodes) and not any(
        weight.data_location or weight.external_data for weight in weights
    )


def graphs_of(one):
    inner = [attribute.g for node in one.node for attribute in node.attribute if attribute.HasField("g")]
    return [one, *(deeper for each in inner for deeper in graphs_of(each))]


def test_another_format_than_onnx_is_refused_by_its_name(tmp_path):
    path = tmp_path / "graph.ort"
    path.write_bytes(model(graph()).SerializeToString())
    with pytest.raises(BundleError, match=r"expected one named \*\.onnx, got .* \*\.ort"):
        check_onnx_file(path)


def test_a_bundle_with_a_foreign_operator_is_not_even_opened(tmp_path):
    with pytest.raises(BundleError, match=r"com\.example"):
        with_cpu_graph(read_bundle(TINY), tmp_path / "bundle", model(graph(FOREIGN)).SerializeToString())


def test_a_graph_of_records_may_split_text_and_look_up_categories_and_no_more(tmp_path):
    path = tmp_path / "records.onnx"
    splits = helper.make_node("Tokenizer", ["x"], ["y"], domain="com.microsoft")
    encodes = helper.make_node("OneHotEncoder", ["y"], ["z"], domain="ai.onnx.ml")
    path.write_bytes(model(graph(splits, encodes)).SerializeToString())
    check_onnx_file(path, RECORD_DOMAINS)
    with pytest.raises(BundleError, match="operators of the domain"):
        check_onnx_file(path)
    for other in (FOREIGN, helper.make_node("Attention", ["x"], ["y"], domain="com.microsoft")):
        path.write_bytes(model(graph(splits, with_branch(graph(other)))).SerializeToString())
        with pytest.raises(BundleError, match=r"'com\.example'|expected Tokenizer alone, got .* 'Attention'"):
            check_onnx_file(path, RECORD_DOMAINS)


def test_an_operator_with_two_names_is_looked_at_by_both(tmp_path):
    path = tmp_path / "records.onnx"
    node = helper.make_node("Tokenizer", ["x"], ["y"], domain="com.microsoft").SerializeToString()
    twice = node + b"\x22\x09Attention"  # field 4 of the node, once more
    inner = b"\x0a" + bytes([len(twice)]) + twice
    path.write_bytes(b"\x3a" + bytes([len(inner)]) + inner)
    with pytest.raises(BundleError, match="Attention"):
        check_onnx_file(path, RECORD_DOMAINS)
