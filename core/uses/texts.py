"""Texts whose next token is predicted: what they may be, and the names of tokens."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from core.specs.base import Json
from core.specs.validation.errors import shown
from core.uses.cells import Mistakes
from core.uses.coding import Coder

OTHER: Final = "<other>"
"""Name of the token that stands for each character that the training data did not have."""
_ASCII: Final = 128


def text_coder(metadata: Mapping[str, str], num_tokens: int) -> Coder:
    """Return the coder of what follows texts: classes, which are tokens."""
    about = json.loads(metadata["tokenizer"])
    return Coder((), (), "classes", tuple(_token_names(about, num_tokens)), num_tokens)


def checked_texts(rows: Sequence[Any]) -> list[str]:
    """Check that posted rows are texts.

    Raises:
        InvalidInputError: with each that is none, or has no token.
    """
    mistakes = Mistakes()
    for number, row in enumerate(rows):
        place = f"features[{number}]"
        if not isinstance(row, str):
            mistakes.add(
                place, "wrong_type",
                f"{place}: must be a text, of which the next token is told; {shown(row)} was given",
            )  # fmt: skip
        elif not row:
            mistakes.add(
                place, "no_tokens",
                f"{place}: is empty; give a text of at least one character",
            )  # fmt: skip
        elif any("\ud800" <= each <= "\udfff" for each in row):
            mistakes.add(
                place, "wrong_type",
                f"{place}: has half of a surrogate pair, which is no character: leave it out",
            )  # fmt: skip
        if mistakes.are_many:
            break
    mistakes.raise_if_any()
    return list(rows)


def packed_texts(texts: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Return texts as arrays: their bytes in UTF-8, and where each ends."""
    encoded = [text.encode() for text in texts]
    ends = np.cumsum([len(each) for each in encoded])
    return {"texts": np.frombuffer(b"".join(encoded), np.uint8), "ends": ends}


def unpacked_texts(arrays: Mapping[str, NDArray[Any]]) -> list[str]:
    """Return the texts of `packed_texts`."""
    content, ends = arrays["texts"].tobytes(), arrays["ends"].tolist()
    starts = [0, *ends[:-1]]
    return [content[start:end].decode() for start, end in zip(starts, ends, strict=True)]


def _token_names(about: Json, count: int) -> list[str]:
    """Return the name of each token: its text; of bytes that are none, their numbers."""
    match about["kind"]:
        case "characters":
            names = [*about["characters"], OTHER]
        case "bytes":
            names = [_shown_bytes(bytes([each])) for each in range(count)]
        case _:
            names = [""] * count
            for token, number in about["tokenizer"]["model"]["vocab"].items():
                names[number] = _shown_bytes(bytes(_byte_of()[each] for each in token))
            names = [name or f"<unused {number}>" for number, name in enumerate(names)]
    return names


def _shown_bytes(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return "".join(chr(each) if each < _ASCII else f"<0x{each:02X}>" for each in content)


@cache
def _byte_of() -> dict[str, int]:
    """Return the byte that each character of a byte-level token stands for (Radford et al. 2019):
    printable ones of Latin-1 stand for themselves, the others are from U+0100 on, in order."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [each for each in range(256) if each not in plain]
    return {chr(each): each for each in plain} | {
        chr(0x100 + number): each for number, each in enumerate(others)
    }
