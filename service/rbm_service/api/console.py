"""`/`: the console, a page for people, which asks nothing but the routes of this service."""

from typing import Final

from fastapi import APIRouter, Request, Response
from starlette.staticfiles import StaticFiles

# No script, style or picture but the page's own, no other page around it; asked for anew after an update.
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}

router = APIRouter(include_in_schema=False)
console_files = StaticFiles(packages=[("rbm_service", "console")])


@router.get("/")
async def get_console(request: Request) -> Response:
    """The page; its links are relative, and so are right behind a proxy that adds a prefix."""
    return await _answer("index.html", request)


@router.get("/console/{file}")
async def get_console_file(request: Request) -> Response:
    """A script, the style or the icon of the page."""
    return await _answer(request.path_params["file"], request)


async def _answer(file: str, request: Request) -> Response:
    response = await console_files.get_response(file, request.scope)
    response.headers.update(HEADERS)
    return response
