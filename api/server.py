"""The server of the application: the address, the log, an orderly end."""

import errno
import gc
import logging
import os
import resource
import signal
import socket
from types import FrameType
from typing import Any, Final

import uvicorn
from fastapi import FastAPI

from api.http.connection import limited
from api.http.log import note
from api.http.middleware import is_loopback
from core import log
from core.artifacts.build import open_artifacts
from core.environment import redis_address
from core.errors import ArtifactError, StoreUnavailableError, UnusableStoreError
from core.settings import Settings
from core.store.calls.opening import check_format
from core.store.redis.keys import RedisKeys

_YOUNG_OBJECTS: Final = 20_000
_MOST_DESCRIPTORS: Final = 2**16
_OWN_DESCRIPTORS: Final = 200
"""Descriptors that are kept for Redis, files and the like; all others may be connections."""
GRACE_S: Final = 4
"""Seconds that replies under way have to finish when the process is told to end."""


class CannotServeError(Exception):
    """The reason why the API cannot start, in one line."""


def run(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM. Raises `CannotServeError`.

    `settings`: those of the environment, which the application reads by itself.
    """
    refuse_wrong_url(settings.redis_url)
    refuse_newer_store(settings)
    refuse_open_address(settings)
    with listen(settings.host, settings.port) as listening:
        log.configure(settings.log_level, "api", "core")
        address, port = listening.getsockname()[:2]
        app = _application()
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="on",
            http=limited(
                settings.request_timeout_s,
                max(_OWN_DESCRIPTORS, raise_descriptor_limit() - _OWN_DESCRIPTORS),
            ),
            ws="none",
            timeout_keep_alive=settings.keep_alive_s,
            timeout_graceful_shutdown=GRACE_S,
            # No proxy stands in front, so nobody may speak for another address.
            proxy_headers=False,
        )
        # Modules loaded by now stay: the collector need not walk through them again and again.
        gc.collect()
        gc.freeze()
        gc.enable()
        # A request leaves little to the collector: counting references frees most objects.
        gc.set_threshold(_YOUNG_OBJECTS, 20, 20)
        note(logging.INFO, "listening", address=address, port=port, pid=os.getpid())
        _Server(config, app.state.services.release).run(sockets=[listening])
    if app.state.refusal is not None:
        raise CannotServeError(app.state.refusal)


def raise_descriptor_limit() -> int:
    """Let this process have as many open files as the system lets it, and return how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    infinite = resource.RLIM_INFINITY
    most = _MOST_DESCRIPTORS if hard == infinite else min(hard, _MOST_DESCRIPTORS)
    if soft == infinite or soft >= most:
        return most
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    except (OSError, ValueError):  # some systems have a lower limit than they say
        return soft
    return most


def refuse_open_address(settings: Settings) -> None:
    """Refuse an address that others can reach while no keys are known to have been made: whoever
    reaches the port might do everything."""
    is_local = is_loopback(settings.host.strip("[]").lower())
    if settings.insecure_listen or is_local or _had_keys(settings):
        return
    raise CannotServeError(
        f"There are no keys, so the API listens on loopback only, not on {settings.host!r}: make"
        " one (`thalweg keys create`), leave THALWEG_HOST at 127.0.0.1, or set"
        " THALWEG_INSECURE_LISTEN=1 where something else keeps strangers out."
    )


def _had_keys(settings: Settings) -> bool:
    """Tell whether keys were made: as the store says, or a note among the artifacts."""
    keys = RedisKeys(settings.redis_url, settings.namespace)
    try:
        if keys.state()[0]:
            return True
    except StoreUnavailableError:
        pass
    finally:
        keys.disconnect()
    try:
        return open_artifacts(settings.artifacts_location, patience_s=0.0).has_keys()
    except ArtifactError:
        return False


def refuse_wrong_url(redis_url: str) -> None:
    """Refuse a Redis URL that no server could have; whether a server answers is seen later, and may
    change."""
    try:
        redis_address.check(redis_url)
    except ValueError as error:  # no password is quoted in these
        raise CannotServeError(f"THALWEG_REDIS_URL is no address of a Redis: {error}") from error


def refuse_newer_store(settings: Settings) -> None:
    """Refuse a store that this version would misread, and a server that can be none (a cluster). A
    store that is away is checked once it is back."""
    try:
        check_format(settings.redis_url, settings.namespace)
    except UnusableStoreError as error:
        raise CannotServeError(str(error)) from error
    except StoreUnavailableError:
        return


def _application() -> FastAPI:
    try:
        from api.asgi import app  # imported late (a second): refusals come before
    except ArtifactError as error:
        raise CannotServeError(str(error)) from error
    return app


def listen(host: str, port: int) -> socket.socket:
    """Bind a socket to the address (port 0: any free one). Raises `CannotServeError`."""
    host = host.strip("[]")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            # Listen now, not at uvicorn's start: two processes may bind, but only one may listen.
            listening.listen(2048)
        except OSError:
            listening.close()
            raise
    except (OSError, UnicodeError) as error:
        number = getattr(error, "errno", None)
        if number == errno.EADDRINUSE:
            why = "the port is in use: choose another by THALWEG_PORT, or stop what listens there"
        else:
            why = getattr(error, "strerror", None) or str(error)
        raise CannotServeError(f"Cannot listen on {host}:{port}: {why}.") from error
    return listening


class _Server(uvicorn.Server):
    """Answers those who wait for a job, and ends streams, as soon as it is told to end."""

    def __init__(self, config: uvicorn.Config, release: Any) -> None:
        super().__init__(config)
        self._release = release

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Replaces uvicorn's own, which kills the process by the same signal after its orderly end.
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True
        self._release()
