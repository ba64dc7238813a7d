"""Weights as a reply: a file, streamed, whole or in part."""

import asyncio
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api.http.conditional import allows, matches
from api.http.errors import RangeNotSatisfiableError
from api.http.openapi import header
from core.artifacts.base import PIECE_BYTES, OpenArtifact
from core.errors import ArtifactError, NotFoundError

_OCTETS: Final = "application/octet-stream"
WEIGHTS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "safetensors; its metadata carries the spec and what use needs.",
        "content": {_OCTETS: {"schema": {"type": "string", "format": "binary"}}},
        "headers": {
            "ETag": header("Of these bytes; none while better ones may come in their place."),
            "Accept-Ranges": header("`bytes` where there is an ETag.", const="bytes"),
            "Content-Disposition": header("A name for the file."),
        },
    },
    206: {
        "description": "The part that `Range` asks for.",
        "content": {_OCTETS: {"schema": {"type": "string", "format": "binary"}}},
        "headers": {"ETag": header("Of the whole file."), "Content-Range": header("Which part.")},
    },
    304: {"description": "Unchanged since the ETag in If-None-Match."},
}
"""The `responses=` of a call that gives weights."""
RANGE_PARAMETERS: Final = [
    {
        "name": "Range",
        "in": "header",
        "description": "`bytes=FIRST-LAST`: go on with a download; one range.",
        "schema": {"type": "string"},
    },
    {
        "name": "If-Range",
        "in": "header",
        "description": "The ETag of what was loaded before: with another, the whole file comes.",
        "schema": {"type": "string"},
    },
]
_RANGE: Final = re.compile(r"bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*", re.ASCII | re.IGNORECASE)
_DIGITS: Final = 18
"""Length of a number at most; a longer one is beyond every file, and takes long to read."""


async def weights_reply(
    request: Request,
    open_: Callable[[], OpenArtifact],
    *,
    name: str,
    ending: str = "safetensors",
    tag: str | None,
    if_none_match: str | None,
    read: Callable[[int, int], bytes] | None = None,
) -> Response:
    """Reply with the file, with a part of it, or with a 304.

    Args:
        open_: called in a thread, unless the client has the file already.
        read: reads so many bytes from an offset on; without it, a part is cut out of the whole.
        name, ending: of the file that a browser saves.
        tag: the ETag; None while other bytes may come in place of these at any moment.
    """
    headers = {
        "Content-Disposition": f'attachment; filename="{name}.{ending}"',
        "Cache-Control": "no-cache",
    }
    if tag is not None:
        headers["ETag"] = tag
        if if_none_match and matches(if_none_match, tag):
            return Response(status_code=304, headers=headers)
        headers["Accept-Ranges"] = "bytes"
    found = await asyncio.to_thread(_opened, open_)
    headers["Content-Length"] = str(found.size_bytes)
    if request.method == "HEAD":
        found.close()
        return Response(headers=headers, media_type=_OCTETS)
    try:
        wanted = None if tag is None else wanted_range(request, tag, found.size_bytes)
    except RangeNotSatisfiableError:
        found.close()
        raise
    if wanted is None:
        return StreamingResponse(found.chunks(), headers=headers, media_type=_OCTETS)
    headers["Content-Length"] = str(len(wanted))
    headers["Content-Range"] = f"bytes {wanted.start}-{wanted.stop - 1}/{found.size_bytes}"
    part = _cut(found, wanted) if read is None else _read(read, wanted)
    if read is not None:
        found.close()
    return StreamingResponse(part, 206, headers=headers, media_type=_OCTETS)


def wanted_range(request: Request, tag: str, size: int) -> range | None:
    """Return the bytes that the request's `Range` asks for; None for the whole file: without one,
    with one that is malformed or of several parts, and where `If-Range` names other bytes.

    Raises `RangeNotSatisfiableError` for a part that begins behind the end.
    """
    asked = _RANGE.fullmatch(request.headers.get("range", "").strip())
    if asked is None or not allows(request.headers.get("if-range"), None, tag):
        return None
    first, last = asked[1][-_DIGITS:], asked[2][-_DIGITS:]
    if len(asked[1]) > _DIGITS:
        raise RangeNotSatisfiableError(size)
    if len(asked[2]) > _DIGITS:
        last = str(size)
    if not first:  # the last so many bytes
        if not last:
            return None
        found = range(max(0, size - int(last)), size)
    elif last and int(last) < int(first):
        return None
    else:
        found = range(int(first), min(int(last) + 1 if last else size, size))
    if not found:
        raise RangeNotSatisfiableError(size)
    return found


def _read(read: Callable[[int, int], bytes], wanted: range) -> Iterator[bytes]:
    start = wanted.start
    while start < wanted.stop:
        piece = read(start, min(PIECE_BYTES, wanted.stop - start))
        yield piece
        start += len(piece)


def _cut(found: OpenArtifact, wanted: range) -> Iterator[bytes]:
    start = 0
    for piece in found.chunks():
        part = piece[max(0, wanted.start - start) : max(0, wanted.stop - start)]
        if part:
            yield part
        start += len(piece)
        if start >= wanted.stop:
            found.close()
            return


def _opened(open_: Callable[[], OpenArtifact]) -> OpenArtifact:
    try:
        return open_()
    except NotFoundError as error:
        raise ArtifactError("The weights are recorded, but their file is not there.") from error
