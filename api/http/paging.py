"""Lists in pages: opaque cursors, bound to the query that they came from."""

import base64
import binascii
import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import orjson

from api.http.schemas import Page
from core.errors import FieldError, InvalidInputError
from core.specs.base import Json

Item = TypeVar("Item")


def fingerprint(*query: object) -> str:
    """Compute eight characters that stand for a query: its path and its filters, but not its
    limit."""
    return hashlib.blake2b(orjson.dumps(query), digest_size=4).hexdigest()


def make_cursor(query: str, position: str) -> str:
    """Make a cursor that continues after `position`, for the query with this fingerprint only."""
    return base64.urlsafe_b64encode(f"{query}{position}".encode()).decode().rstrip("=")


def read_cursor(query: str, cursor: str, valid: Callable[[str], bool]) -> str:
    """Read the position in a cursor.

    Raises `InvalidInputError` for a cursor of another query, and for what is no cursor at all.
    """
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        text = ""
    of, position = text[:8], text[8:]
    if not valid(position):
        message = "after: is no cursor of this service; take it from a reply's next_cursor."
        raise InvalidInputError([FieldError("after", "invalid_cursor", message)])
    if of != query:
        message = "after: is a cursor of another query; keep the filters while you page."
        raise InvalidInputError([FieldError("after", "foreign_cursor", message)])
    return position


def page_body(data: Sequence[Any], next_cursor: str | None) -> Json:
    """Make the contract's JSON of a list."""
    more = next_cursor is not None
    return {"data": data, **Page.build(has_more=more, next_cursor=next_cursor)}


def page_of(
    items: Iterable[Item], key: Callable[[Item], str], query: str, limit: int, after: str | None
) -> tuple[list[Item], str | None]:
    """Cut one page out of a short list that is known whole; return it and the next page's cursor.

    The items are in falling order of `key`, which is different for each.
    """
    rest = list(items)
    if after is not None:
        position = read_cursor(query, after, bool)
        rest = [item for item in rest if key(item) < position]
    page = rest[:limit]
    more = len(rest) > limit
    return page, make_cursor(query, key(page[-1])) if more else None
