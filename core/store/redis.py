"""The store on Redis: for the API (async) and for workers (sync), on the same keys and scripts."""

from core.store.asynchronous import AsyncRedisStore
from core.store.synchronous import RedisStore

__all__ = ["AsyncRedisStore", "RedisStore"]
