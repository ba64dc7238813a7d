"""Tokenizers: what makes a text a sequence of numbers."""

from typing import Annotated, Final, Literal

from pydantic import Field

from core.specs.base import WHOLE, Spec

BYTES: Final = 256


class Characters(Spec):
    """A token for each character that the text has, in the order of Unicode, and one for all
    others."""

    kind: Literal["characters"] = "characters"


class Bytes(Spec):
    """A token for each byte of the text in UTF-8: 256."""

    kind: Literal["bytes"]


class BytePair(Spec):
    """Bytes, of which the most frequent neighbours become a token, time after time (Sennrich et al.
    2015, arXiv 1508.07909), counted in the text for training."""

    kind: Literal["byte_pair"]
    vocabulary_size: Annotated[int, Field(gt=BYTES, le=65_536), WHOLE] = 1000
    """Tokens: the 256 bytes, and one for each pair that became one. Where the text has fewer pairs,
    the last tokens never occur."""


Tokenizer = Annotated[Characters | Bytes | BytePair, Field(discriminator="kind")]
