"""Constants that the two sides of the broker must agree on: plain values, no Celery here.

The message is a hint that work is queued; it carries nothing. The record in the store is the truth.
"""

from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from core.settings import Settings

QUEUE: Final = "thalweg"
TASK: Final = "thalweg.work"


def broker_url(redis_url: str) -> str:
    """Return the server's address as kombu writes it: `unix:///path?db=1` →
    `redis+socket:///path?virtual_host=1`.

    `redis://` and `rediss://` addresses are returned as they are.
    """
    parts = urlsplit(redis_url)
    if parts.scheme != "unix":
        return redis_url
    query = dict(parse_qsl(parts.query))
    if "db" in query:
        query["virtual_host"] = query.pop("db")
    # By hand: urlunsplit drops the `//` of a scheme that it does not know.
    return f"redis+socket://{parts.netloc}{parts.path}" + (f"?{urlencode(query)}" if query else "")


def celery_config(settings: Settings) -> dict[str, Any]:
    """Return the Celery options shared by sender and receiver."""
    return {
        "broker_url": broker_url(settings.redis_url),
        "broker_transport_options": {
            "global_keyprefix": f"{settings.namespace}:celery:",
            # The order of jobs is the store's affair: one list, no priorities.
            "priority_steps": [0],
            "socket_connect_timeout": 5.0,
            "socket_timeout": 10.0,
            "socket_keepalive": True,
        },
        # No result backend: nobody waits for a hint.
        "task_ignore_result": True,
        "task_default_queue": QUEUE,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_store_errors_even_if_ignored": False,
        "broker_connection_retry_on_startup": True,
        "enable_utc": True,
    } | ({"broker_use_ssl": _TLS} if settings.redis_url.startswith("rediss:") else {})


_TLS: Final = {"ssl_cert_reqs": "required"}
