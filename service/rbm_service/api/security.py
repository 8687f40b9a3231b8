"""What the OpenAPI document says about keys."""

from typing import Any, Final

from rbm_service.api.open_inference.routes import error_responses
from rbm_service.api.schemas import problem_responses
from rbm_service.errors import speaks_protocol
from rbm_service.keys import KeyRing, is_for_admin

SCHEMES: Final = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def declare_keys(document: dict[str, Any], keys: KeyRing) -> None:
    """Say which operations need a key, and how they answer without one; nothing where none is needed."""
    guarded = [path for path in document["paths"] if keys.needs_key(path)]
    if guarded:
        document["components"]["securitySchemes"] = SCHEMES
    for path in guarded:
        statuses = (401, 403) if is_for_admin(path) else (401,)
        refusals = error_responses(*statuses) if speaks_protocol(path) else problem_responses(*statuses)
        for operation in document["paths"][path].values():
            operation["security"] = [{scheme: []} for scheme in SCHEMES]
            operation["responses"] |= {str(status): answer for status, answer in refusals.items()}
