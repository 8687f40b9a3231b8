"""`/docs`: the interface to read and to try out, in a browser that reaches nothing but this service."""

from fastapi import APIRouter, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.staticfiles import StaticFiles

router = APIRouter(include_in_schema=False)
swagger_ui = StaticFiles(packages=[("fastapi_swagger", "resources")])


@router.get("/docs")
async def get_docs(request: Request) -> Response:
    """The page; its links are relative, and so are right behind a proxy that adds a prefix."""
    return get_swagger_ui_html(
        title=request.app.title,
        openapi_url="openapi.json",
        swagger_js_url="docs/swagger-ui-bundle.js",
        swagger_css_url="docs/swagger-ui.css",
        swagger_favicon_url="docs/favicon-32x32.png",
        swagger_ui_parameters={"validatorUrl": None},  # else it would ask a server of its makers
    )


@router.get("/docs/{file}")
async def get_docs_file(request: Request) -> Response:
    """A file of Swagger UI."""
    return await swagger_ui.get_response(request.path_params["file"], request.scope)
