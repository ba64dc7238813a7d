"""Replies that are pictures."""

from typing import Any, Final

from starlette.responses import Response

from core.plots.run import PlotFormat

_MEDIA: Final[dict[PlotFormat, str]] = {"svg": "image/svg+xml", "png": "image/png"}
PICTURE: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "A picture.",
        "content": {
            media: {"schema": {"type": "string", "format": "binary"}} for media in _MEDIA.values()
        },
    }
}
"""The `responses=` of a call that gives a picture."""


def picture_reply(picture: bytes, form: PlotFormat) -> Response:
    return Response(picture, media_type=_MEDIA[form], headers={"Cache-Control": "no-cache"})
