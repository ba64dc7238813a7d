"""`Idempotency-Key`: the same request, sent again, makes nothing new."""

import hashlib
import re
from typing import Any, Final

import orjson
from starlette.requests import Request

from api.keys.gate import caller_of
from api.services.dependencies import Services
from core.errors import FieldError, InvalidInputError
from core.store.protocols.types import Idempotency

_KEY: Final = re.compile(r"[\x20-\x7e]{1,255}")
KEY_PARAMETER: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Sent again with the same spec, it returns what the first request made.",
    "schema": {"type": "string", "pattern": f"^{_KEY.pattern}$"},
}


def idempotency_of(request: Request, services: Services, *what: Any) -> Idempotency | None:
    """Return the request's key with the fingerprint of what it asks for: two requests with one key
    are the same when `what` they resolve to is equal.

    The header is read here: declared, it would take FastAPI a tenth of the whole call.
    """
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        message = "Idempotency-Key: must be 1 to 255 printable ASCII characters."
        raise InvalidInputError([FieldError("Idempotency-Key", "malformed", message)])
    canonical = orjson.dumps(what, option=orjson.OPT_SORT_KEYS)
    digest = hashlib.blake2b(canonical, digest_size=16).hexdigest()
    caller = caller_of(request.scope)
    if caller is not None:  # each owner has keys of its own: no line end is in one
        key = f"{caller.owner}\n{key}"
    return Idempotency(key, digest, services.settings.idempotency_ttl_s)
