"""What is refused before any runtime sees it; tests/system has the same matrix before a running service."""

import pytest

from rbm_bundle.bundle import read_bundle
from rbm_bundle.errors import BundleError
from tests.corruptions import corruptions


@pytest.mark.parametrize(
    "corruption",
    [corruption for corruption in corruptions() if not corruption.deep],
    ids=lambda corruption: corruption.name,
)
def test_a_corrupt_bundle_is_refused_with_a_reason_that_names_it(corruption, tiny_bundle):
    corruption.spoil(tiny_bundle)
    with pytest.raises(BundleError, match=corruption.reason):
        read_and_use(tiny_bundle)


def read_and_use(folder):
    bundle = read_bundle(folder)
    bundle.golden()
    bundle.graph_path("cpu")
