"""The least a Python web server can do: a bare Starlette route that answers the same bytes each time.

Run as `python -m tests.load.starlette_route PORT FILE`; it reads a body and answers what FILE holds.
"""

import sys
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.load.yardsticks import serve


def create_app(answer: bytes) -> Starlette:
    """The route, and the one that a start waits for."""

    async def classify(request: Request) -> Response:
        await request.body()
        return Response(answer, media_type="application/json")

    async def readyz(request: Request) -> Response:
        return Response(b"ready")

    return Starlette(routes=[Route("/classify", classify, methods=["POST"]), Route("/readyz", readyz)])


def main(port: int, file: Path) -> None:
    """Serve until told to stop, as the service does but without a log."""
    serve(create_app(file.read_bytes()), port)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
