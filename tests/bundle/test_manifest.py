import json

import pytest

from rbm_bundle.errors import BundleError
from rbm_bundle.manifest import Manifest, parse_manifest, seal
from rbm_bundle.manifest_parts import Architecture


@pytest.fixture
def raw(tiny_bundle):
    return (tiny_bundle / "manifest.json").read_bytes()


def test_a_sealed_manifest_reads_back_as_it_was(raw):
    manifest = parse_manifest(raw)
    assert parse_manifest(seal(manifest)) == manifest
    assert seal(manifest) == raw


@pytest.mark.parametrize(
    ("stored", "num_experts", "name"),
    [
        ("rbm", [1, 4], "rbm-head"),
        ("moe", [1, 4], "moe-head"),
        ("rbm", [4, 4], "rbm"),
        ("mlp", [1, 1], "mlp"),
    ],
)
def test_a_mixture_in_the_last_layer_alone_is_called_so_whatever_the_bundle_stored(
    raw, stored, num_experts, name
):
    architecture = json.loads(raw)["architecture"] | {"student": stored, "num_experts": num_experts}
    assert Architecture.model_validate(architecture).student == name


def test_another_format_is_refused_and_says_which_is_read(raw):
    document = json.loads(raw) | {"format_version": 3}
    with pytest.raises(BundleError, match="expected format_version 1 or 2, got format_version 3"):
        parse_manifest(json.dumps(document).encode())


def test_an_unknown_field_is_refused_by_name(raw):
    document = json.loads(raw) | {"surprise": 1}
    with pytest.raises(BundleError, match="surprise"):
        parse_manifest(json.dumps(document).encode())


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b"\xff\xfe", b"null"])
def test_what_is_no_manifest_is_refused(content):
    with pytest.raises(BundleError):
        parse_manifest(content)


@pytest.mark.slow
def test_every_single_bit_of_the_manifest_counts(raw):
    for place in range(len(raw)):
        for bit in range(8):
            flipped = raw[:place] + bytes([raw[place] ^ (1 << bit)]) + raw[place + 1 :]
            with pytest.raises(BundleError):
                parse_manifest(flipped)


def test_an_edit_that_keeps_the_meaning_is_refused_too(raw):
    with pytest.raises(BundleError, match="bundle_id"):
        parse_manifest(raw + b" ")


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [
        ("features", "num_features", 13),
        ("nodes", "position_width", 5),
        ("architecture", "experts_per_row", 3),
        ("architecture", "num_experts", [4, 4, 4]),
    ],
)
def test_a_manifest_that_contradicts_its_graphs_is_refused(raw, part, field, value):
    document = json.loads(raw)
    document[part][field] = value
    with pytest.raises(BundleError, match=r"cpu graph: .* elsewhere"):
        parse_manifest(json.dumps(document).encode())


def test_labels_and_classes_must_be_as_many(raw):
    document = json.loads(raw)
    document["labels"].append("violet")
    with pytest.raises(BundleError, match="cpu graph: logits"):
        parse_manifest(json.dumps(document).encode())


def test_a_name_that_is_a_path_is_refused(raw):
    manifest = parse_manifest(raw)
    with pytest.raises(ValueError, match="name"):
        Manifest.model_validate(manifest.model_dump() | {"name": "../up"})


NAMES = [f"column {index}" for index in range(12)]


def test_names_of_features_are_of_format_2(raw):
    manifest = parse_manifest(raw)
    assert b"names" not in raw
    features = manifest.features.model_copy(update={"names": tuple(NAMES)})
    named = manifest.model_copy(update={"features": features, "format_version": 2})
    assert parse_manifest(seal(named)).features.names == tuple(NAMES)
    early = seal(named.model_copy(update={"format_version": 1}))
    with pytest.raises(BundleError, match=r"features\.names in format 1"):
        parse_manifest(early)


@pytest.mark.parametrize(
    ("names", "reason"),
    [(NAMES[1:], "11 names of 12 features"), ([*NAMES[1:], NAMES[1]], "a feature named twice")],
)
def test_names_that_do_not_fit_the_features_are_refused(raw, names, reason):
    document = json.loads(raw) | {"format_version": 2}
    document["features"]["names"] = names
    with pytest.raises(BundleError, match=reason):
        parse_manifest(json.dumps(document).encode())
