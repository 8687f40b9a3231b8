"""Who may come in: files of keys, and what each of them opens.

A file holds digests, so that reading it lets nobody in. A plain SHA-256 is enough, and nothing is salted,
because a key is 32 random bytes (`new_key`): there is nothing to guess.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from rbm_bundle.folders import read_small_file
from rbm_service.errors import ForbiddenError, NotFoundError, UnauthorizedError

OPEN_PATHS: Final = frozenset({"/livez", "/readyz", "/v2/health/live", "/v2/health/ready"})
ADMIN_PATHS: Final = ("/admin/", "/v2/repository/")  # these, with or without the last slash, and all below
DOCS_PATHS: Final = ("/docs", "/openapi.json")
ADMIN_NAME: Final = "admin"
NAME_PATTERN: Final = re.compile(r"[A-Za-z0-9._-]{1,32}")  # too short for a secret to pass for a name
DIGEST_PATTERN: Final = re.compile(r"[0-9a-f]{64}")
MAX_FILE_BYTES: Final = 2**20
LINE_PATTERN: Final = re.compile(rf"({NAME_PATTERN.pattern})\s+({DIGEST_PATTERN.pattern})")

Headers = Mapping[bytes, bytes]


class KeyFileError(Exception):
    """A file holds something else than keys; it is never quoted, for that may be a secret."""


class KeyRing:
    """The keys that open the service; without files, everything is open but what is for the admin.

    Args:
        open_docs: whether `/docs` and `/openapi.json` need no key even where everything else does.

    Raises:
        KeyFileError, OSError: as `read`.
    """

    def __init__(
        self, api_keys_file: Path | None = None, admin_key_file: Path | None = None, open_docs: bool = False
    ) -> None:
        self._open_docs = open_docs
        self._api_keys_file = api_keys_file
        self._admin_key_file = admin_key_file
        self.read()

    def read(self) -> None:
        """Read the files, at start or anew; if one of them is not right, the keys stay as they were.

        Raises:
            KeyFileError: a file holds something else than keys.
            OSError: a file is no plain one, or cannot be read.
        """
        api = read_api_keys(self._api_keys_file) if self._api_keys_file else {}
        admin = {read_admin_key(self._admin_key_file): ADMIN_NAME} if self._admin_key_file else {}
        self._names = {**api, **admin}  # by digest

    def needs_key(self, path: str) -> bool:
        """Return whether a path is open to nobody without a key.

        What is neither open to everyone nor the admin's needs an API key, where there are any: so a new route
        is closed until somebody opens it.
        """
        is_docs = path in DOCS_PATHS or path.startswith("/docs/")
        is_console = path == "/" or path.startswith("/console/")  # without a key, an empty page
        if path in OPEN_PATHS or is_console or (self._open_docs and is_docs):
            return False
        return self._api_keys_file is not None or is_for_admin(path)

    def authorize(self, headers: Headers, path: str) -> str | None:
        """Return the name of the key with which a request may have a path, or None where it needs no key.

        `headers` are as ASGI has them, names in lower case.

        Raises:
            UnauthorizedError: a key is needed, and is missing or not known.
            ForbiddenError: an API key where only the admin key opens.
            NotFoundError: there is no admin key, and so nothing that it would open.
        """
        for_admin = is_for_admin(path)
        if for_admin and self._admin_key_file is None:
            raise NotFoundError("no such route")
        if not self.needs_key(path):
            return None
        name = self._holder(headers)
        if for_admin and name != ADMIN_NAME:
            raise ForbiddenError("this needs the admin key")
        return name

    def _holder(self, headers: Headers) -> str:
        scheme, _, secret = headers.get(b"authorization", b"").partition(b" ")
        secret = secret.strip() if scheme.lower() == b"bearer" else headers.get(b"x-api-key", b"")
        if not secret:
            raise UnauthorizedError("this needs a key: Authorization: Bearer KEY, or X-API-Key: KEY")
        digest = hashlib.sha256(secret).digest()
        # All are compared, and each in constant time: how long it takes tells nothing of any of them.
        names = [name for known, name in self._names.items() if hmac.compare_digest(known, digest)]
        if not names:
            raise UnauthorizedError("this key is not known")
        return names[-1]


def is_for_admin(path: str) -> bool:
    """Return whether only the admin key opens a path."""
    return f"{path}/".startswith(ADMIN_PATHS)


def read_api_keys(path: Path) -> dict[bytes, str]:
    """Read a file with `NAME SHA256` on each line, `#` begins a comment; return the names by digest.

    Raises:
        KeyFileError: a line that is something else, a name or a key for the second time, no key at all.
        OSError: the file cannot be read.
    """
    keys: dict[bytes, str] = {}
    for number, found in _lines(path, LINE_PATTERN, "a name and a SHA-256 of 64 hex digits"):
        name, digest = found[1], bytes.fromhex(found[2])
        if name in (ADMIN_NAME, *keys.values()):
            raise KeyFileError(f"{path}, line {number}: the name {name} is taken")
        if digest in keys:
            raise KeyFileError(f"{path}, line {number}: this key has a name already")
        keys[digest] = name
    if not keys:
        raise KeyFileError(f"{path}: expected one key at least, got none: rbm-serve --new-key NAME")
    return keys


def read_admin_key(path: Path) -> bytes:
    """Read a file with the SHA-256 of the admin key on its only line; `#` begins a comment.

    Raises:
        KeyFileError: another number of lines, or something else on it.
        OSError: the file cannot be read.
    """
    lines = list(_lines(path, DIGEST_PATTERN, "a SHA-256 of 64 hex digits and nothing else"))
    if len(lines) != 1:
        raise KeyFileError(f"{path}: expected one line, got {len(lines)}: rbm-serve --new-key {ADMIN_NAME}")
    return bytes.fromhex(lines[0][1][0])


def new_key(name: str) -> tuple[str, str]:
    """Make a secret that nobody can guess, and the line that lets it in."""
    secret = secrets.token_urlsafe(32)
    digest = hashlib.sha256(secret.encode()).hexdigest()
    return secret, digest if name == ADMIN_NAME else f"{name} {digest}"


def _lines(path: Path, pattern: re.Pattern[str], wanted: str) -> Iterator[tuple[int, re.Match[str]]]:
    """Yield what is on each line, and its number from 1; without comments and blank lines."""
    text = read_small_file(path, MAX_FILE_BYTES).decode("utf-8", "replace")
    for number, line in enumerate(text.split("\n"), start=1):
        if content := line.partition("#")[0].strip():
            if not (found := pattern.fullmatch(content)):
                raise KeyFileError(f"{path}, line {number}: expected {wanted}")
            yield number, found
