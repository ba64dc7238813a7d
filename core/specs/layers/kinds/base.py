"""Parts that all layers share: names, windows, paddings."""

from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, WithJsonSchema

from core.specs.base import WHOLE, Spec

NAME_PATTERN: Final = r"^[A-Za-z_][A-Za-z0-9_]{0,62}$"
"""A name becomes a part of the parameters' names, which dots cut."""

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Dim = Annotated[int, Field(ge=-4, le=4), WHOLE]


LONGEST: Final = 10_000
"""Largest size of a window, and largest distance between its places or between two windows."""
Window = Annotated[int, Field(gt=0, le=LONGEST), WHOLE]
Pad = Annotated[int, Field(ge=0, le=LONGEST), WHOLE]


def _pair(value: object) -> object:
    """Take `3` for `[3, 3]`, as torch does."""
    if isinstance(value, list):
        return tuple(value)
    return (value, value) if isinstance(value, (int, float)) else value


def _or_several(minimum: int) -> WithJsonSchema:
    number: dict[str, Any] = {"type": "integer", "minimum": minimum, "maximum": LONGEST}
    several = {"type": "array", "items": number, "minItems": 2, "maxItems": 2}
    return WithJsonSchema({"anyOf": [number, several]}, mode="validation")


Pair = Annotated[tuple[Window, Window], BeforeValidator(_pair), _or_several(1)]
PadPair = Annotated[tuple[Pad, Pad], BeforeValidator(_pair), _or_several(0)]


def _padding_tag(value: object) -> str:
    return "~same" if isinstance(value, str) else "~padding"


_Same = Annotated[Literal["same"], Tag("~same")]
Padding1d = Annotated[Annotated[Pad, Tag("~padding")] | _Same, Discriminator(_padding_tag)]
Padding2d = Annotated[Annotated[PadPair, Tag("~padding")] | _Same, Discriminator(_padding_tag)]

PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]


class NamedLayer(Spec):
    """A layer, which may have a name."""

    name: Name | None = None
    """The layer's name, for its parameters, errors and `skip`; left out: its number in the list."""
