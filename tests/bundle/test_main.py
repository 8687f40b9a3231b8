import pytest

from rbm_bundle.__main__ import main
from rbm_bundle.version import package_version
from tests.bundles import RECORDS


@pytest.fixture
def models(tmp_path):
    def call(*arguments):
        return main(["--models-dir", str(tmp_path / "models"), *map(str, arguments)])

    return call


def test_the_life_of_a_model_from_the_command_line(models, tiny_bundle, capsys):
    assert models("publish", tiny_bundle, "--promote") == 0
    assert models("publish", tiny_bundle) == 0
    assert models("promote", "tiny", 2) == 0
    assert models("rollback", "tiny") == 0
    capsys.readouterr()
    assert models("list") == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["tiny", "1", "current"],
        ["tiny", "2"],
    ]


def test_a_bundle_that_is_published_already_is_told_at_publish_and_at_promote(models, tiny_bundle, capsys):
    models("publish", tiny_bundle)
    assert capsys.readouterr().out == "published tiny version 1\n"
    models("publish", tiny_bundle, "--promote")
    said = ["published tiny version 2", "  the same as version 1, byte for byte", "promoted tiny version 2"]
    assert capsys.readouterr().out.splitlines() == said
    models("promote", "tiny", 1)
    said = ["promoted tiny version 1", "  the same as version 2, byte for byte"]
    assert capsys.readouterr().out.splitlines() == said
    models("promote", "tiny", 1)
    assert capsys.readouterr().out == "promoted tiny version 1\n"


def test_what_differs_from_the_promoted_version_is_told_once(models, tiny_bundle, capsys):
    models("publish", tiny_bundle, "--promote")
    capsys.readouterr()
    models("publish", RECORDS, "--name", "tiny", "--promote")
    first, *notes, last = capsys.readouterr().out.splitlines()
    assert (first, last) == ("published tiny version 2", "promoted tiny version 2")
    assert len(notes) == len(set(notes)) == 2
    assert notes[0] == "  unlike version 1: classes without 'red', 'green', 'blue' and with 'art', 'bio'"
    models("rollback", "tiny")
    first, *notes = capsys.readouterr().out.splitlines()
    assert [first, notes[0]] == [
        "rolled tiny back to version 1",
        "  unlike version 2: classes without 'art', 'bio' and with 'red', 'green', 'blue'",
    ]


def test_a_promoted_version_that_cannot_be_read_is_told_and_hinders_no_other(
    models, tiny_bundle, tmp_path, capsys
):
    models("publish", tiny_bundle, "--promote")
    (tmp_path / "models" / "tiny" / "1" / "manifest.json").write_text("{")
    assert models("publish", tiny_bundle, "--promote") == 0
    _, note, last = capsys.readouterr().out.splitlines()[-3:]
    assert note.startswith("  not compared with the promoted version: ")
    assert last == "promoted tiny version 2"


def test_verify_takes_a_folder_a_name_or_a_version(models, tiny_bundle, capsys):
    models("publish", tiny_bundle)
    models("publish", tiny_bundle)
    capsys.readouterr()
    for arguments, num_lines in (([tiny_bundle], 1), (["tiny"], 2), (["tiny", 2], 1)):
        assert models("verify", *arguments) == 0
        assert len(capsys.readouterr().out.splitlines()) == num_lines


def test_verify_says_what_is_wrong_and_exits_1(models, tiny_bundle, capsys):
    path = tiny_bundle / "student.dense.onnx"
    path.write_bytes(path.read_bytes()[::-1])
    assert models("verify", tiny_bundle) == 1
    assert "student.dense.onnx: expected sha256" in capsys.readouterr().err


def test_an_empty_repository_is_said_to_be_empty(models, capsys):
    assert models("list") == 0
    assert "no models" in capsys.readouterr().out


def test_a_broken_current_file_is_told_and_the_other_models_are_listed(models, tiny_bundle, tmp_path, capsys):
    for name in ("aaa", "zzz"):
        models("publish", tiny_bundle, "--name", name, "--promote")
    (tmp_path / "models" / "aaa" / "CURRENT").write_bytes(b"\xff")
    capsys.readouterr()
    assert models("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "expected one of the versions [1]" in lines[0]
    assert [line.split() for line in lines[1:]] == [["aaa", "1"], ["zzz", "1", "current"]]


def test_version_zero_is_a_version_that_is_not_there(models, tiny_bundle, capsys):
    models("publish", tiny_bundle)
    assert models("verify", "tiny", 0) == 1
    assert "expected version 0" in capsys.readouterr().err


def test_a_disk_that_refuses_is_told_in_one_line(tiny_bundle, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["--models-dir", str(tmp_path / "file"), "publish", str(tiny_bundle)]) == 1
    assert capsys.readouterr().err.startswith("rbm-models: ")


def test_a_shadow_is_set_listed_and_taken_away(models, tiny_bundle, tmp_path, capsys):
    models("publish", tiny_bundle, "--promote")
    models("publish", tiny_bundle)
    assert models("shadow", "tiny", 2, "--share", 0.2) == 0
    assert (tmp_path / "models" / "tiny" / "SHADOW").read_text() == "2 0.2\n"
    capsys.readouterr()
    models("list")
    assert [line.split()[1:] for line in capsys.readouterr().out.splitlines()] == [
        ["1", "current"],
        ["2", "shadow", "0.2"],
    ]
    assert models("shadow", "tiny", "--off") == 0
    assert not (tmp_path / "models" / "tiny" / "SHADOW").exists()


def test_a_shadow_that_is_not_there_is_refused(models, tiny_bundle, capsys):
    models("publish", tiny_bundle)
    assert models("shadow", "tiny", 7) == 1
    assert "expected version 7" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        models("shadow", "tiny")


def test_the_version_is_told(models, capsys):
    with pytest.raises(SystemExit, match="0"):
        models("--version")
    assert capsys.readouterr().out == f"rbm-models {package_version()}\n"


def test_the_repository_is_the_one_that_the_service_reads(tmp_path, tiny_bundle, monkeypatch, capsys):
    monkeypatch.setenv("RBM_MODELS_DIR", str(tmp_path / "served"))
    assert main(["publish", str(tiny_bundle)]) == 0
    assert (tmp_path / "served" / "tiny" / "1").is_dir()
