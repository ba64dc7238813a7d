"""The first call to a store, which tells whether this version may use it."""

from typing import Any

from core.errors import NewerFormatError
from core.formats import STORE, check_store
from core.store.connection.client import Call, SyncClient, call_script


def open_call() -> Call:
    """Ask for the store's format; a store that has none, or an older one, gets this version's."""
    return call_script("open", STORE)


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
        NewerFormatError: this version may not use it.
        StoreUnavailableError: it does not answer.
    """
    link = SyncClient(url, namespace, "thalweg-check")
    try:
        check_opened(link.call(open_call()))
    finally:
        link.disconnect()
