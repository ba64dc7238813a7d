"""Weights as a reply: a safetensors file, streamed."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api.http.conditional import matches
from api.http.openapi import header
from core.artifacts.base import OpenArtifact
from core.errors import ArtifactError, NotFoundError

_OCTETS: Final = "application/octet-stream"
WEIGHTS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "safetensors; its metadata carries the spec and what use needs.",
        "content": {_OCTETS: {"schema": {"type": "string", "format": "binary"}}},
        "headers": {"ETag": header("Of these bytes."), "Content-Disposition": header("")},
    },
    304: {"description": "Unchanged since the ETag in If-None-Match."},
}
"""The `responses=` of a call that gives weights."""


async def weights_reply(
    request: Request,
    open_: Callable[[], OpenArtifact],
    *,
    name: str,
    tag: str | None,
    if_none_match: str | None,
) -> Response:
    """Reply with the file, or with a 304.

    Args:
        open_: called in a thread, unless the client has the file already.
        name: of the file that a browser saves, without its ending.
        tag: the ETag; None while other bytes may come in place of these at any moment.
    """
    headers = {
        "Content-Disposition": f'attachment; filename="{name}.safetensors"',
        "Cache-Control": "no-cache",
    }
    if tag is not None:
        headers["ETag"] = tag
        if if_none_match and matches(if_none_match, tag):
            return Response(status_code=304, headers=headers)
    found = await asyncio.to_thread(_opened, open_)
    headers["Content-Length"] = str(found.size_bytes)
    if request.method == "HEAD":
        found.close()
        return Response(headers=headers, media_type=_OCTETS)
    return StreamingResponse(found.chunks(), headers=headers, media_type=_OCTETS)


def _opened(open_: Callable[[], OpenArtifact]) -> OpenArtifact:
    try:
        return open_()
    except NotFoundError as error:
        raise ArtifactError("The weights are recorded, but their file is not there.") from error
