"""One service and every kind of corrupt bundle: each is refused, and the service goes on with what it has."""

import re
import shutil

from rbm_bundle.folders import replace_file
from tests.bundles import TINY, repository_of
from tests.corruptions import corruptions
from tests.servers import running_server, wait_until


def test_no_corrupt_bundle_replaces_the_model_in_service(tmp_path):
    repository = repository_of(tmp_path / "models")
    with running_server(repository.root, tmp_path / "server.log", reload_poll_seconds=0.01) as server:
        before = server.classify({"node_ids": [100, 150, 195]})
        for number, corruption in enumerate(corruptions(), start=1):
            promote_spoilt(repository, number + 1, corruption)
            refusals = wait_for_refusals(server, number)
            assert re.search(corruption.reason, refusals[-1]["reason"]), (corruption.name, refusals[-1])
            assert server.classify({"node_ids": [100, 150, 195]}) == before, corruption.name
        assert server.get("/readyz")
        repository.promote("tiny", repository.publish(TINY))
        wait_until(
            lambda: server.classify({"node_ids": [100]})["model"]["version"] == number + 2, "a good one"
        )


def promote_spoilt(repository, version, corruption):
    """As if somebody had written into the repository by hand: nothing of ours publishes such a bundle."""
    folder = repository.root / "tiny" / str(version)
    shutil.copytree(TINY, folder)
    corruption.spoil(folder)
    replace_file(repository.root / "tiny" / "CURRENT", f"{version}\n".encode())


def wait_for_refusals(server, number):
    name = "promotion refused; the current version stays"
    wait_until(lambda: len(server.events(name)) >= number, f"refusal {number}")
    refusals = server.events(name)
    assert len(refusals) == number
    return refusals
