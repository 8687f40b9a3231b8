import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from rbm_training.runtime.environment import seed_everything


@pytest.fixture
def _threads_as_before():
    num_threads = torch.get_num_threads()
    with threadpool_limits():
        yield
    torch.set_num_threads(num_threads)


@pytest.mark.usefixtures("_threads_as_before")
@pytest.mark.parametrize("num_threads", [1, 2])
def test_all_libraries_compute_with_the_threads_of_the_experiment(num_threads):
    np.ones(2) @ np.ones(2)
    seed_everything(0, num_threads)
    assert torch.get_num_threads() == num_threads
    assert {pool["num_threads"] for pool in threadpool_info()} == {num_threads}
