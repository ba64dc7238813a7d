"""The OpenAPI document and a page to read and try it, with no internet."""

import asyncio
import base64
import hashlib
import re
from importlib.resources import files
from typing import Final

from fastapi import APIRouter, FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import Response

from api.http.encoding import to_json
from api.http.openapi import document
from api.services.dependencies import Json, Route

router = APIRouter(route_class=Route, include_in_schema=False)

ASSETS: Final = {
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
    "favicon.png": "image/png",
}


class Documentation:
    """The document's bytes, made when they are first asked for."""

    def __init__(self, app: FastAPI, root: str) -> None:
        self._app = app
        self._root = root
        self._lock = asyncio.Lock()
        self._bytes: bytes | None = None

    async def read(self) -> bytes:
        async with self._lock:
            if self._bytes is None:
                self._bytes = await asyncio.to_thread(
                    lambda: to_json(document(self._app, self._root))
                )
            return self._bytes


@router.get("/openapi.json", response_class=Json)
async def openapi(request: Request) -> Response:
    return Json(await request.app.state.documentation.read())


@router.get("/docs", response_class=Response)
async def docs(request: Request) -> Response:
    root = request.scope["root_path"]
    reply = get_swagger_ui_html(
        openapi_url=f"{root}/openapi.json",
        title="Thalweg",
        swagger_js_url=f"{root}/docs/swagger-ui-bundle.js",
        swagger_css_url=f"{root}/docs/swagger-ui.css",
        swagger_favicon_url=f"{root}/docs/favicon.png",
    )
    reply.headers["Content-Security-Policy"] = _policy(bytes(reply.body).decode())
    return reply


def _policy(text: str) -> str:
    """Return the Content-Security-Policy of the documentation: of scripts in its text the one that
    starts it, by its digest."""
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'self'; script-src 'self' 'sha256-{digest}';"
        " style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
        " base-uri 'none'; object-src 'none'; frame-ancestors 'none'"
    )


@router.get("/docs/{name:asset}", response_class=Response)
async def asset(name: str) -> Response:
    """Serve Swagger UI's files, from the wheel that carries them."""
    content = await asyncio.to_thread((files("fastapi_offline") / "static" / name).read_bytes)
    headers = {"Cache-Control": "public, max-age=86400"}
    return Response(content, media_type=ASSETS[name], headers=headers)
