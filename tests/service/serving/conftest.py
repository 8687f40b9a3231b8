"""What the tests of models in service share."""

import pytest

from rbm_service.serving.loader import Loader
from rbm_service.settings import Settings
from tests.bundles import TINY


@pytest.fixture
def load(tmp_path, metrics):
    """Loads the next version of a name each time."""
    loader = Loader(Settings(models_dir=tmp_path, device="cpu", max_batch_rows=4), metrics)

    def load(name="tiny"):
        return loader.load(name, loader.repository.publish(TINY, name))

    return load
