"""The keys that tests present, and the files of keys that a service reads."""

from pathlib import Path

from rbm_service.web.api_keys import ADMIN_NAME, new_key

API_NAME = "web"
API_KEY, API_KEY_LINE = new_key(API_NAME)
ADMIN_KEY, ADMIN_KEY_LINE = new_key(ADMIN_NAME)
WRONG_KEY, WRONG_KEY_LINE = new_key("nobody")  # in no file


def key_files(folder: Path) -> dict[str, Path]:
    """Both files of keys, written into the folder, by the names of their settings."""
    files = {"api_keys_file": folder / "api-keys", "admin_key_file": folder / "admin-key"}
    files["api_keys_file"].write_text(API_KEY_LINE)
    files["admin_key_file"].write_text(ADMIN_KEY_LINE)
    return files
