"""The page: one document for all its views, and the files that it is made of.

They are built from `web/` into `built/` here, and are not in git. Nothing of the page tells of
jobs: it asks the API for them, with the key where keys are needed.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.routing import Route, Router

from api.http.middleware import shown_path

BUILT: Final = Path(__file__).resolve().parent / "built"
VIEWS: Final = ("/", "/jobs", "/jobs/{id}", "/compare", "/studies/{id}", "/play")
"""Paths that the page shows (`web/src/app/router.ts` has the same ones)."""
POLICY: Final = (
    "default-src 'self'; img-src 'self' data: blob:; base-uri 'none'; object-src 'none';"
    " form-action 'none'; frame-ancestors 'none'"
)
"""Content-Security-Policy of the page: nothing but its own files, no script in its text, no frame
around it. Pictures may be made in the page itself."""
_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}
_NOT_BUILT: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Thalweg</title></head><body>
<h1>Thalweg</h1>
<p>The service runs; its page has not been built. <code>make install</code> builds it where there is
a package registry for npm: with Node 20.19 or newer, or without Node by one from a Python wheel.
Then load this address again.</p>
<p>The API needs no page: <a href="{root}/docs">its documentation</a>.</p>
</body></html>
"""


async def view(request: Request) -> Response:
    """Return the page's document, which shows what its address names."""
    root = request.scope.get("root_path", "")
    text = await asyncio.to_thread(_document, BUILT)
    if text is None:
        return HTMLResponse(_NOT_BUILT.replace("{root}", root), 503, _page_headers())
    # A proxy may show the service below a path of its own.
    text = text.replace('="/assets/', f'="{root}/assets/')
    return HTMLResponse(text.replace('data-root=""', f'data-root="{root}"'), 200, _page_headers())


async def without_slash(request: Request) -> Response:
    """Lead from a view's path with a slash at its end to the view, with the same query."""
    path = quote(shown_path(request.scope).rstrip("/"))
    query = request.url.query
    return RedirectResponse(f"{path}?{query}" if query else path, 308)


async def asset(request: Request) -> Response:
    """Return a file of the page. Its name changes with its content, so that it is kept for good."""
    name = request.path_params["name"]
    path = BUILT / "assets" / name
    if not await asyncio.to_thread(path.is_file):
        raise HTTPException(404)
    lasts = "-" in name  # all but the icon
    control = "public, max-age=31536000, immutable" if lasts else "public, max-age=86400"
    return FileResponse(path, headers={"Cache-Control": control})


def _page_headers() -> Mapping[str, str]:
    return {**_HEADERS, "Cache-Control": "no-cache"}


def _document(built: Path) -> str | None:
    """Read the page's document; None where it has not been built."""
    try:
        return (built / "index.html").read_text("utf-8")
    except FileNotFoundError:
        return None


router = Router(
    routes=[
        *(Route(path, view, methods=["GET"]) for path in VIEWS),
        *(Route(f"{path}/", without_slash, methods=["GET"]) for path in VIEWS if path != "/"),
        Route("/assets/{name}", asset, methods=["GET"]),
    ]
)
"""Plain routes: the queries of views are the page's own."""
