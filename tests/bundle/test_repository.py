import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from rbm_bundle.bundle import read_bundle
from rbm_bundle.errors import BundleError
from rbm_bundle.repository import ModelRepository, ShadowSpec


@pytest.fixture
def repository(tmp_path):
    return ModelRepository(tmp_path / "models")


def test_versions_count_up_and_one_is_promoted(repository, tiny_bundle):
    assert [repository.publish(tiny_bundle), repository.publish(tiny_bundle)] == [1, 2]
    assert repository.current("tiny") is None
    repository.promote("tiny", 2)
    assert repository.current("tiny") == 2
    assert repository.names() == ["tiny"]
    assert read_bundle(repository.path_of("tiny", 1)).manifest.name == "tiny"


def test_rollback_promotes_the_next_lower_version(repository, tiny_bundle):
    for _ in range(3):
        repository.publish(tiny_bundle)
    repository.promote("tiny", 3)
    assert [repository.rollback("tiny"), repository.rollback("tiny")] == [2, 1]
    with pytest.raises(BundleError, match="expected a lower version"):
        repository.rollback("tiny")
    assert repository.current("tiny") == 1


def test_where_nothing_is_promoted_the_error_says_what_there_is(repository, tiny_bundle):
    with pytest.raises(BundleError, match="expected a model named tiny, got models none"):
        repository.promoted("tiny")
    repository.publish(tiny_bundle)
    with pytest.raises(BundleError, match="rbm-models promote tiny 1, got versions 1, none of them promoted"):
        repository.promoted("tiny")
    repository.promote("tiny", 1)
    assert repository.promoted("tiny") == 1


@pytest.mark.parametrize("pointer", ["CURRENT", "SHADOW"])
def test_a_fingerprint_changes_with_the_file_that_names_a_version_and_with_that_version(
    repository, tiny_bundle, pointer
):
    for _ in range(2):
        repository.publish(tiny_bundle)
    path, golden = repository.root / "tiny" / pointer, repository.path_of("tiny", 2) / "golden.npz"
    changes = [
        lambda: path.write_bytes(b"1"),
        lambda: path.write_bytes(b"2 0.5\n"),
        lambda: golden.write_bytes(b"half a copy"),
        lambda: golden.chmod(0o600),
        golden.unlink,
        lambda: golden.parent.rename(golden.parent.with_name("3")),
        lambda: path.write_bytes(b"1" * 70_000),
        path.unlink,
        path.mkdir,
    ]
    seen = [repository.fingerprint("tiny", pointer)]
    for change in changes:
        change()
        seen.append(repository.fingerprint("tiny", pointer))
        assert seen[-1] == repository.fingerprint("tiny", pointer)
        assert seen[-1] != seen[-2]


@pytest.mark.parametrize("pointer", ["CURRENT", "SHADOW"])
def test_the_fingerprint_of_a_pipe_is_there_at_once(repository, tiny_bundle, pointer):
    repository.publish(tiny_bundle)
    os.mkfifo(repository.root / "tiny" / pointer)
    assert repository.fingerprint("tiny", pointer) == repository.fingerprint("tiny", pointer)


def test_a_version_that_is_not_there_is_not_promoted(repository, tiny_bundle):
    repository.publish(tiny_bundle)
    with pytest.raises(BundleError, match="expected version 7, got versions 1"):
        repository.promote("tiny", 7)


def test_a_version_that_rotted_is_not_promoted(repository, tiny_bundle):
    for _ in range(2):
        repository.publish(tiny_bundle)
    repository.promote("tiny", 1)
    positions = repository.path_of("tiny", 2) / "positions.npy"
    positions.write_bytes(positions.read_bytes()[:-1] + b"\x01")
    with pytest.raises(BundleError, match="sha256"):
        repository.promote("tiny", 2)
    assert repository.current("tiny") == 1


def test_a_bad_bundle_is_not_published(repository, tiny_bundle):
    (tiny_bundle / "golden.npz").unlink()
    with pytest.raises(BundleError):
        repository.publish(tiny_bundle)
    assert repository.versions("tiny") == []


def test_a_name_that_leaves_the_repository_is_refused(repository, tiny_bundle):
    with pytest.raises(BundleError, match="model name"):
        repository.publish(tiny_bundle, "../outside")
    assert repository.versions("..") == []


@pytest.mark.parametrize("name", [".incoming-1", "01", "0", "latest", "1.5", "-1"])
def test_folders_that_are_no_versions_do_not_exist(repository, tiny_bundle, name):
    repository.publish(tiny_bundle)
    (repository.root / "tiny" / name).mkdir()
    assert repository.versions("tiny") == [1]


@pytest.mark.parametrize("content", [b"", b"seven", b"3", b"01", b"1\n2", b"\xff1", b"1" * 5000])
def test_a_current_file_that_names_no_version_is_refused(repository, tiny_bundle, content):
    repository.publish(tiny_bundle)
    (repository.root / "tiny" / "CURRENT").write_bytes(content)
    with pytest.raises(BundleError, match=r"versions \[1\]"):
        repository.current("tiny")


def test_a_shadow_is_a_version_and_a_share_until_it_is_cleared(repository, tiny_bundle):
    for _ in range(2):
        repository.publish(tiny_bundle)
    assert repository.shadow("tiny") is None
    for shadow in (ShadowSpec(2, 0.05), ShadowSpec(1, 1.0), ShadowSpec(2, 1e-6)):
        repository.set_shadow("tiny", shadow)
        assert repository.shadow("tiny") == shadow
    repository.set_shadow("tiny", ShadowSpec(2, 0.05))
    assert (repository.root / "tiny" / "SHADOW").read_bytes() == b"2 0.05\n"
    for _ in range(2):
        repository.clear_shadow("tiny")
    assert repository.shadow("tiny") is None


@pytest.mark.parametrize(
    "shadow", [ShadowSpec(7, 0.5), ShadowSpec(1, 0.0), ShadowSpec(1, 1.5), ShadowSpec(1, float("nan"))]
)
def test_a_shadow_of_no_version_or_no_share_is_refused(repository, tiny_bundle, shadow):
    repository.publish(tiny_bundle)
    with pytest.raises(BundleError, match=r"expected (version 7|a share)"):
        repository.set_shadow("tiny", shadow)
    assert repository.shadow("tiny") is None


def test_a_version_that_rotted_is_no_shadow(repository, tiny_bundle):
    repository.publish(tiny_bundle)
    golden = repository.path_of("tiny", 1) / "golden.npz"
    golden.write_bytes(golden.read_bytes()[:-1])
    with pytest.raises(BundleError, match="golden"):
        repository.set_shadow("tiny", ShadowSpec(1, 0.5))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"1",
        b"1 ",
        b"3 0.5",
        b"01 0.5",
        b"1 0",
        b"1 1.1",
        b"1 nan",
        b"1 inf",
        b"1 0.5 2",
        b"1 -0.5",
        b"\xff1 1",
        b"1" * 5000,
    ],
)
def test_a_shadow_file_that_names_none_is_refused(repository, tiny_bundle, content):
    repository.publish(tiny_bundle)
    (repository.root / "tiny" / "SHADOW").write_bytes(content)
    with pytest.raises(BundleError, match=r"versions \[1\] and a share"):
        repository.shadow("tiny")


def test_concurrent_publishers_each_get_a_version(repository, tiny_bundle):
    with ThreadPoolExecutor(8) as pool:
        versions = list(pool.map(lambda _: repository.publish(tiny_bundle), range(24)))
    assert sorted(versions) == repository.versions("tiny") == list(range(1, 25))
    for version in versions:
        read_bundle(repository.path_of("tiny", version))


@pytest.mark.slow
def test_publishers_killed_at_any_moment_leave_nothing_that_loads_wrong(repository, tiny_bundle):
    command = [
        sys.executable,
        "-m",
        "rbm_bundle",
        "--models-dir",
        str(repository.root),
        "publish",
        str(tiny_bundle),
    ]
    ready = repository.root / "tiny"
    num_killed = 0
    for attempt in range(12):
        before = set(ready.iterdir()) if ready.exists() else set()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None and (not ready.exists() or set(ready.iterdir()) <= before):
                time.sleep(0.0005)  # until the copy has begun
            time.sleep(0.0004 * attempt)
            os.kill(process.pid, signal.SIGKILL) if process.poll() is None else None
        num_killed += process.returncode == -signal.SIGKILL
        for version in repository.versions("tiny"):
            read_bundle(repository.path_of("tiny", version)).golden()
    assert num_killed
    assert repository.publish(tiny_bundle) == len(repository.versions("tiny"))


@pytest.mark.parametrize("name", ["CURRENT", "SHADOW"])
def test_a_pipe_in_place_of_a_small_file_is_not_waited_for(repository, tiny_bundle, name):
    repository.publish(tiny_bundle)
    os.mkfifo(repository.root / "tiny" / name)
    with pytest.raises(BundleError, match="not a plain file"):
        repository.current("tiny") if name == "CURRENT" else repository.shadow("tiny")
