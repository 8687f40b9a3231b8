import pytest

from rbm_training.config import ConfigError, load_config


def test_a_folder_is_refused_with_the_experiment_in_it_or_the_command_that_writes_one(tmp_path):
    with pytest.raises(ConfigError, match=f"found a folder; wanted a TOML file; `rbm-train init {tmp_path}`"):
        load_config(tmp_path)
    (tmp_path / "mine.toml").write_text("")
    with pytest.raises(ConfigError, match=f"found a folder; wanted a TOML file, as {tmp_path}/mine.toml$"):
        load_config(tmp_path)


def test_a_mark_of_utf_8_is_read_over_and_another_encoding_refused(tmp_path):
    path, text = tmp_path / "mine.toml", 'name = "mine"  # größe'
    path.write_bytes(text.encode("utf-8-sig"))
    assert load_config(path).name == "mine"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match="no TOML, which is text in UTF-8"):
        load_config(path)
