"""What clients of the protocol may ask for and this service does not have: refused by name."""

from collections.abc import Mapping
from typing import Final

from fastapi import Request, Response

from rbm_service.api.open_inference.routes import MODEL, new_router
from rbm_service.errors import NotFoundError

ABSENT: Final[Mapping[str, str]] = {
    "/v2/systemsharedmemory/{rest:path}": "shared memory",
    "/v2/cudasharedmemory/{rest:path}": "CUDA shared memory",
    "/v2/trace/setting": "trace settings",
    f"{MODEL}/trace/setting": "trace settings",
    "/v2/logging": "log settings",
}

router = new_router()


async def absent(request: Request) -> Response:
    """Always 404."""
    raise NotFoundError(f"this service does not offer {ABSENT[request.scope['route'].path]}")


for path in ABSENT:
    router.add_api_route(path, absent, methods=["GET", "POST"], include_in_schema=False)
