import os
from pathlib import Path

import pytest

from rbm_bundle import BundleError

NAME = os.fsdecode(b"caf\xe9")


@pytest.mark.parametrize("text", [NAME, "two\nlines", "\x1b[31mred", "\ud800", "\0"])
def test_any_text_comes_as_one_line_that_can_be_written_as_utf_8(text):
    error = BundleError(Path("models") / text, text, text)
    for told in (str(error), error.file, error.got, error.expected):
        assert told.encode().decode().isprintable()


def test_a_name_in_another_script_stays_as_it_is():
    assert str(BundleError("modèle/ñ", "a", "b")) == "modèle/ñ: expected b, got a"


def test_text_without_end_is_cut_off():
    assert len(str(BundleError("file", "x" * 10**6, "y" * 10**6))) < 2100
