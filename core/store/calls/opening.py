"""The first call to a store, which tells whether this version may use it."""

from typing import Any

from core.environment.redis_address import mode_in, wrong_mode
from core.errors import NewerFormatError, UnusableStoreError
from core.formats import STORE, check_store
from core.store.connection.client import Call, SyncClient, call_script, command


def open_call() -> Call:
    """Ask for the store's format; a store that has none, or an older one, gets this version's."""
    return call_script("open", STORE)


def mode_call() -> Call:
    """Ask the server what it is, before anything is asked of it."""
    return command("HELLO")


def check_mode(answer: Any) -> None:
    """Raise `UnusableStoreError` when the server is part of a cluster, or a Sentinel."""
    if (why := wrong_mode(mode_in(answer))) is not None:
        raise UnusableStoreError(why)


def check_opened(answer: Any) -> None:
    """Raise `NewerFormatError` when this version may not use the store."""
    check_store(answer.decode(errors="replace"))


def refuse_newer(found: Any) -> NewerFormatError:
    """Say why a claim was refused: a newer version has opened the store since this process did."""
    try:
        check_opened(found)
    except NewerFormatError as error:
        return error
    return NewerFormatError("A newer version of Thalweg has opened the store.")


def check_format(url: str, namespace: str) -> None:
    """Open the store for a moment, before anything else is started.

    Raises:
        UnusableStoreError: this version may not use it (`NewerFormatError`), or cannot.
        StoreUnavailableError: it does not answer.
    """
    link = SyncClient(url, namespace, "thalweg-check")
    try:
        check_mode(link.call(mode_call()))
        check_opened(link.call(open_call()))
    finally:
        link.disconnect()
