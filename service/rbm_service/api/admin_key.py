"""The key to the admin's routes."""

import hmac
from hashlib import sha256
from pathlib import Path
from typing import Final

from fastapi import Request

from rbm_service.errors import UnauthorizedError

BEARER: Final = "bearer "


class AdminKey:
    """Knows the right key by its digest."""

    def __init__(self, key: str) -> None:
        self._digest = _digest_of(key)

    @classmethod
    def read(cls, path: Path) -> "AdminKey":
        """The key in a file of one line.

        Raises:
            OSError: there is no such file, or it holds no key.
        """
        lines = path.read_text().splitlines()
        if len(lines) != 1 or not lines[0].strip():
            raise OSError(f"{path}: found {len(lines)} lines; wanted one, with the admin's key")
        return cls(lines[0].strip())

    async def __call__(self, request: Request) -> None:
        """Refuse a request without the key.

        Raises:
            UnauthorizedError: it has none, or another.
        """
        if not hmac.compare_digest(_digest_of(_given_key(request)), self._digest):
            raise UnauthorizedError


def _given_key(request: Request) -> str:
    authorization = request.headers.get("authorization", "")
    if authorization.lower().startswith(BEARER):
        return authorization[len(BEARER) :].strip()
    return request.headers.get("x-api-key", "")


def _digest_of(key: str) -> bytes:
    return sha256(key.encode()).digest()
