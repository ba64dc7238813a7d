"""The end of tasks that go on beside the requests."""

import asyncio
from typing import Any


async def ended(*tasks: "asyncio.Future[Any] | None") -> None:
    """Cancel the tasks, and wait until they have ended, however they did; None is no task."""
    going = [each for each in tasks if each is not None]
    for each in going:
        each.cancel()
    await asyncio.gather(*going, return_exceptions=True)
