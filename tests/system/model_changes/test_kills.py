"""Service and publisher are killed at any moment: what is left is whole."""

import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np

from rbm_bundle import read_bundle
from rbm_bundle.bundle import read_manifest
from tests.servers import wait_until
from tests.system.model_changes.versions import QUERIES, probabilities_of

NUM_KILLS = 20
PUBLISH_ON = """
import itertools, sys
from pathlib import Path
from rbm_bundle import ModelRepository

repository = ModelRepository(Path(sys.argv[1]))
for folder in itertools.cycle(sys.argv[2:]):
    repository.promote("tiny", repository.publish(Path(folder), "tiny"))
"""


def test_twenty_kills_of_service_and_publisher_leave_only_whole_versions(
    serve, repository, bundles, expected
):
    answer_of = {
        bundle.manifest.bundle_id: answer[0] for bundle, answer in zip(bundles, expected, strict=True)
    }
    whole = set()
    moments = random.Random(9)
    for _ in range(NUM_KILLS):
        with serve() as server:
            answer = server.classify(QUERIES[0])
            assert_answered_by(answer, repository, answer_of)
            with publishing(repository, bundles) as publisher:
                wait_until(lambda: server.events("loading model"), "the beginning of a reload")
                time.sleep(moments.uniform(0, 0.1))
                server.process.kill()
                time.sleep(moments.uniform(0, 0.02))
                publisher.kill()
            assert server.process.wait(30) == publisher.wait(30) == -signal.SIGKILL
        whole |= verified(repository, set(repository.versions("tiny")) - whole)
        assert repository.current("tiny") in whole
    with serve() as server:
        assert_answered_by(server.classify(QUERIES[0]), repository, answer_of)


@contextmanager
def publishing(repository, bundles):
    """Somebody who publishes and promotes without a pause."""
    arguments = [repository.root, *(bundle.path for bundle in bundles)]
    with subprocess.Popen([sys.executable, "-c", PUBLISH_ON, *map(str, arguments)]) as process:
        try:
            yield process
        finally:
            process.kill()


def verified(repository, versions):
    for version in versions:
        read_bundle(repository.path_of("tiny", version)).golden()
    return versions


def assert_answered_by(answer, repository, answer_of):
    manifest = read_manifest(repository.path_of("tiny", answer["model"]["version"]))
    assert np.abs(probabilities_of(answer) - answer_of[manifest.bundle_id]).max() < 1e-5
