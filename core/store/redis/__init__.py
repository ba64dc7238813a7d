"""The store on Redis: for the API (async) and for workers (sync), on the same keys and scripts."""

from core.store.redis.api import AsyncRedisStore
from core.store.redis.worker import RedisStore

__all__ = ["AsyncRedisStore", "RedisStore"]
