import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILES = {name: (ROOT / f"docker/{name}.Dockerfile").read_text() for name in ("service", "training")}


@pytest.mark.parametrize("dockerfile", DOCKERFILES.values(), ids=DOCKERFILES.keys())
def test_an_image_states_the_version_of_the_project(dockerfile):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f'org.opencontainers.image.version="{project["version"]}"' in dockerfile


@pytest.mark.parametrize("dockerfile", DOCKERFILES.values(), ids=DOCKERFILES.keys())
def test_an_image_runs_as_nobody_in_particular_and_gets_its_signals(dockerfile):
    assert "\nUSER 10001:10001\n" in dockerfile
    assert re.search(r'^ENTRYPOINT \["rbm-\w+"\]$', dockerfile, re.MULTILINE)


@pytest.mark.parametrize("dockerfile", DOCKERFILES.values(), ids=DOCKERFILES.keys())
def test_what_an_image_copies_is_sent_to_the_engine(dockerfile):
    kept = {
        line.strip("!/\n") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"
    }
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE)
    sources = [source for line in copied for source in line.split()]
    assert sources
    assert {source.split("/")[0] for source in sources} <= kept
    assert all((ROOT / source).exists() for source in sources)


def test_the_service_image_holds_no_training_code():
    assert "training" not in DOCKERFILES["service"].replace("without training code", "")
