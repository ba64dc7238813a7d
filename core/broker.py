"""Constants that the two sides of the broker must agree on: plain values, no Celery here.

The message is a hint that work is queued; it carries nothing. The record in the store is the truth.
"""

from typing import Any, Final

from core.environment.redis_address import broker
from core.settings import Settings

QUEUE: Final = "thalweg"
TASK: Final = "thalweg.work"


def celery_config(settings: Settings) -> dict[str, Any]:
    """Return the Celery options shared by sender and receiver."""
    address = broker(settings.redis_url)
    return address | {
        "broker_transport_options": {
            "global_keyprefix": f"{settings.namespace}:celery:",
            # The order of jobs is the store's affair: one list, no priorities.
            "priority_steps": [0],
            "socket_connect_timeout": 5.0,
            "socket_timeout": 10.0,
            "socket_keepalive": True,
            **address.get("broker_transport_options", {}),
        },
        # No result backend: nobody waits for a hint.
        "task_ignore_result": True,
        "task_default_queue": QUEUE,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_store_errors_even_if_ignored": False,
        "broker_connection_retry_on_startup": True,
        "enable_utc": True,
    }
