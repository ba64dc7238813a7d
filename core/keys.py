"""API keys: their records, scopes and limits, and the tokens that callers send.

A token is 32 random bytes, shown once. Stored is its SHA-256: what cannot be guessed needs no slow
hash, and a stored digest opens nothing.
"""

import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Final, Literal, get_args

from core.ids import KEY_PREFIX, new_id
from core.jobs import JSON, NUMBER, TEXT, Stored

Scope = Literal["read", "write", "admin"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
TOKEN_PREFIX: Final = "thw_"
_TOKEN: Final = re.compile(rf"{TOKEN_PREFIX}[A-Za-z0-9_-]{{43}}")
_OWNER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,62}")
MOST_NAME: Final = 200


@dataclass(frozen=True)
class KeyLimits:
    """Limits of what a key may ask for; None: none.

    Attributes:
        requests_per_s: requests a second, counted by each API process for itself.
        queued: jobs and studies that wait at a time.
        running: jobs and tasks of studies that are at work at a time; others wait.
        stored_bytes: weights, checkpoints and rows (of a job as of its last checkpoint, or its
            end; of a study as of its tasks that have ended or were paused), and uploads.
        device_s_per_day: seconds for which attempts hold a device, by the day of UTC.
    """

    requests_per_s: float | None = None
    queued: int | None = None
    running: int | None = None
    stored_bytes: int | None = None
    device_s_per_day: float | None = None


LIMITS: Final = tuple(each.name for each in fields(KeyLimits))
"""The limits that there are, by name."""


@dataclass(frozen=True)
class KeyRecord:
    """All that is stored of a key but its token's digest; it stays when the key is revoked.

    Attributes:
        owner: what the key makes belongs to it; several keys may share one.
        last_used_at: the time of a request with it, at most a minute older than the last one's.
    """

    id: Annotated[str, TEXT]
    owner: Annotated[str, TEXT]
    scopes: Annotated[tuple[Scope, ...], Stored("list")]
    created_at: Annotated[str, TEXT]
    name: Annotated[str | None, TEXT] = None
    expires_at: Annotated[str | None, TEXT] = None
    revoked_at: Annotated[str | None, TEXT] = None
    rotated_at: Annotated[str | None, TEXT] = None
    last_used_at: Annotated[str | None, TEXT] = None
    requests_per_s: Annotated[float | None, JSON] = None
    queued: Annotated[int | None, NUMBER] = None
    running: Annotated[int | None, NUMBER] = None
    stored_bytes: Annotated[int | None, NUMBER] = None
    device_s_per_day: Annotated[float | None, JSON] = None

    @property
    def limits(self) -> KeyLimits:
        return KeyLimits(**{name: getattr(self, name) for name in LIMITS})

    @property
    def is_admin(self) -> bool:
        return "admin" in self.scopes

    def allows(self, scope: Scope) -> bool:
        """Tell whether the key may do what asks for this scope; `admin` may do everything."""
        return scope in self.scopes or self.is_admin

    def refusal(self, now: str) -> str | None:
        """Say why the key is not taken at that time (RFC 3339, UTC); None: it is."""
        if self.revoked_at is not None:
            return f"The key {self.id} was revoked at {self.revoked_at}."
        if self.expires_at is not None and self.expires_at <= now:
            return f"The key {self.id} expired at {self.expires_at}."
        return None


def new_key_id() -> str:
    return new_id(KEY_PREFIX)


def new_token() -> str:
    """Return a new token: nothing tells which key it is of but the digest that is stored."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def digest_of(token: str) -> str | None:
    """Return the digest under which a token's key is stored; None for what is no token."""
    if _TOKEN.fullmatch(token) is None:
        return None
    return hashlib.sha256(token.encode()).hexdigest()


def owner_in(text: str) -> str:
    """Return the name of an owner. Raises `ValueError`."""
    if _OWNER.fullmatch(text) is None:
        raise ValueError(
            f"{text[:80]!r} is no name of an owner: it has 1 to 63 letters, digits and . _ @ + -,"
            " and begins with a letter or a digit"
        )
    return text


def name_in(text: str) -> str:
    """Return the name of a key. Raises `ValueError`."""
    if not text.strip() or not text.isprintable() or len(text) > MOST_NAME:
        raise ValueError(f"a key's name is 1 to {MOST_NAME} printable characters")
    return text


def scopes_in(text: str) -> tuple[Scope, ...]:
    """Return the scopes in a list with commas between. Raises `ValueError`."""
    asked = {each.strip() for each in text.split(",")}
    if unknown := sorted(asked.difference(SCOPES)):
        raise ValueError(
            f"{unknown[0][:80]!r} is no scope: give {', '.join(SCOPES)}, with commas between"
        )
    return tuple(scope for scope in SCOPES if scope in asked)


MOST: Final = 2**53
"""The largest limit: the store's scripts count in double precision."""


def check_limits(limits: Mapping[str, float | None]) -> None:
    """Refuse a limit that is not above 0, or so large that it is none. Raises `ValueError`."""
    for name, value in limits.items():
        if value is not None and not 0 < value <= MOST:
            raise ValueError(
                f"the limit {name} must be a number above 0 and at most {MOST}; given {value}"
            )
