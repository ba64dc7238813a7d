"""Places in the queue, as the store tells them."""

from collections.abc import Sequence

from core.store.redis import AsyncRedisStore


async def positions(api: AsyncRedisStore, ids: Sequence[str]) -> list[int | None]:
    """How many are ahead of each; None: it does not wait."""
    places = await api.queue_places(ids)
    return [None if place is None else place.position for place in places]
