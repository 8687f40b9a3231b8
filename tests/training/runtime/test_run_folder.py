import subprocess
import sys

import pytest

from rbm_training.runtime.run_folder import RunFolder, RunFolderError

HOLDS = """
import sys
from pathlib import Path
from rbm_training.runtime.run_folder import RunFolder
with RunFolder(Path(sys.argv[1])).locked():
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run")


def test_a_second_process_is_refused_by_the_number_of_the_first(folder):
    command = [sys.executable, "-c", HOLDS, str(folder.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(RunFolderError, match=f"found process {process.pid} at work"), folder.locked():
            pass
        process.stdin.close()
    with folder.locked():
        pass


def test_the_config_of_an_earlier_run_is_written_over_and_that_of_a_user_is_not(folder):
    folder.path.mkdir()
    folder.write_config('name = "a"\n')
    folder.write_config('name = "b"\n')
    assert 'name = "b"' in folder.config_file().read_text()
    (folder.path / "config.toml").write_text('name = "mine"\n')
    folder.write_config('name = "c"\n')
    assert (folder.path / "config.toml").read_text() == 'name = "mine"\n'
    assert 'name = "c"' in folder.config_file().read_text()


@pytest.mark.parametrize("left", ["report.json", "bundle"])
def test_what_no_run_of_artifacts_left_is_refused(folder, left):
    (folder.path / left).mkdir(parents=True)
    with pytest.raises(RunFolderError, match=f"found {left} of an earlier run, without its artifacts"):
        folder.check()
    folder.artifacts.mkdir()
    folder.check()
