"""What the README shows must work as shown."""

import json
import re
import shlex
from pathlib import Path

import pytest

from rbm_bundle.__main__ import _parser as models_parser
from rbm_service.api.schemas import ClassifyRequest, ClassifyResponse
from rbm_training.__main__ import _parser as train_parser
from rbm_training.config import load_config

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PARSERS = {"rbm-train": train_parser, "rbm-models": models_parser}


def test_every_make_target_that_is_named_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in (README, (ROOT / "CONTRIBUTING.md").read_text()):
        named = set(re.findall(r"(?:^|`)make ([a-z]+)", page, re.MULTILINE))
        assert named
        assert named <= targets


def test_the_request_and_its_answer_fit_the_schema():
    body = re.search(r"-d '(\{.*\})'", README).group(1)
    answer = re.search(r'^(\{"model".*?\]\})\n```', README, re.MULTILINE | re.DOTALL).group(1)
    asked = ClassifyRequest.model_validate_json(body)
    answered = ClassifyResponse.model_validate(json.loads(answer))
    assert [prediction.node_id for prediction in answered.predictions] == asked.node_ids


def test_the_experiment_loads(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(re.search(r"```toml\n(.*?)```", README, re.DOTALL).group(1))
    assert load_config(path).dataset.kind == "files"


@pytest.mark.parametrize("line", re.findall(r"^(rbm-(?:train|models) .*)$", README, re.MULTILINE))
def test_every_command_line_is_understood(line):
    program, *arguments = shlex.split(line)
    assert PARSERS[program]().parse_args(arguments)


def test_every_link_leads_somewhere():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", README):
        assert (ROOT / target).exists(), target
