import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rbm_bundle.bundle import MODEL_CARD_FILE, read_bundle, write_bundle
from rbm_bundle.errors import BundleError
from rbm_bundle.folders import INCOMING_PREFIX
from tests.bundles import draft_of

DATA = Path(__file__).parents[1] / "data"
TINY_FILES = sorted(path.name for path in (DATA / "tiny_bundle").iterdir())


def test_a_bundle_written_again_is_the_same_bundle(tiny_bundle, tmp_path):
    copy = write_bundle(tmp_path / "copy", draft_of(read_bundle(tiny_bundle)))
    assert copy.manifest == read_bundle(tiny_bundle).manifest


def test_an_older_model_card_calls_the_student_as_it_is_called_now():
    bundle = read_bundle(DATA / "mixed_bundle")
    assert "(`moe`)" in (bundle.path / MODEL_CARD_FILE).read_text()
    assert "(`moe-head`)" in bundle.model_card().decode()
    assert "(`moe`)" not in bundle.model_card().decode()


@pytest.mark.parametrize("name", TINY_FILES)
def test_one_flipped_bit_in_any_file_is_refused(tiny_bundle, name):
    path = tiny_bundle / name
    content = bytearray(path.read_bytes())
    generator = random.Random(name)
    for _ in range(25):
        place, bit = generator.randrange(len(content)), 1 << generator.randrange(8)
        content[place] ^= bit
        path.write_bytes(content)
        with pytest.raises(BundleError):
            read_bundle(tiny_bundle)
        content[place] ^= bit
    path.write_bytes(content)
    read_bundle(tiny_bundle)


@pytest.mark.parametrize("name", TINY_FILES)
def test_a_missing_file_is_refused_by_name(tiny_bundle, name):
    (tiny_bundle / name).unlink()
    with pytest.raises(BundleError, match=name):
        read_bundle(tiny_bundle)


def test_a_file_that_is_not_listed_is_refused_by_name(tiny_bundle):
    (tiny_bundle / "extra.bin").write_bytes(b"")
    with pytest.raises(BundleError, match=r"extra\.bin"):
        read_bundle(tiny_bundle)


def test_a_truncated_file_is_refused_with_both_sizes(tiny_bundle):
    path = tiny_bundle / "positions.npy"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BundleError, match=r"expected 448 bytes, got 447 bytes"):
        read_bundle(tiny_bundle)


@pytest.mark.parametrize("name", TINY_FILES)
def test_a_link_in_place_of_a_file_is_refused(tiny_bundle, tmp_path, name):
    path = tiny_bundle / name
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match="link"):
        read_bundle(tiny_bundle)


def test_an_existing_folder_is_never_overwritten(tiny_bundle):
    with pytest.raises(BundleError, match="never overwritten"):
        write_bundle(tiny_bundle, draft_of(read_bundle(tiny_bundle)))


def test_a_draft_that_contradicts_itself_leaves_nothing(tiny_bundle, tmp_path):
    draft = draft_of(read_bundle(tiny_bundle))
    unsorted = replace(draft.nodes, ids=np.asarray(draft.nodes.ids)[::-1].copy())
    with pytest.raises(BundleError, match="out of order"):
        write_bundle(tmp_path / "fresh" / "bundle", replace(draft, nodes=unsorted))
    assert list((tmp_path / "fresh").iterdir()) == []


def test_an_interrupt_while_writing_leaves_nothing(tiny_bundle, tmp_path, monkeypatch):
    def interrupted(folder):
        raise KeyboardInterrupt

    draft = draft_of(read_bundle(tiny_bundle))
    monkeypatch.setattr("rbm_bundle.bundle.read_bundle", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_bundle(tmp_path / "fresh" / "bundle", draft)
    assert not [path for path in (tmp_path / "fresh").iterdir() if path.name.startswith(INCOMING_PREFIX)]


def test_a_graph_for_a_provider_that_is_not_there_is_refused(tiny_bundle):
    bundle = read_bundle(tiny_bundle)
    manifest = bundle.manifest.model_copy(update={"graphs": {"cpu": bundle.manifest.graphs["cpu"]}})
    with pytest.raises(BundleError, match="expected a graph for cuda, got graphs for cpu"):
        replace(bundle, manifest=manifest).graph_path("cuda")
