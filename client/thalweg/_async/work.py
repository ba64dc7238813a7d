"""Work of the service: calls that a job and a study share."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from thalweg._async import calls
from thalweg._async.transport import AsyncTransport, place
from thalweg.records import WorkRecord


class AsyncWork(WorkRecord):
    """A job or a study."""

    _collection: ClassVar[str]
    """The part of the path where its like are created."""

    def __init__(self, transport: AsyncTransport, data: dict[str, Any]) -> None:
        super().__init__(data)
        self._transport = transport
        self._path = place(self._collection, self.id)

    async def refresh(self) -> Self:
        """Read it anew."""
        self.data = await self._transport.json("GET", self._path)
        return self

    async def wait(self, timeout_s: float | None = None, *, progress: bool = False) -> Self:
        """Wait until it has ended, and return it.

        Args:
            timeout_s: seconds to wait; None waits as long as it takes.
            progress: whether to show a bar, in a terminal or a notebook.

        Raises `WaitTimeoutError` when it has not ended in time; it goes on.
        """
        await calls.wait_for(self._transport, self._path, self, timeout_s, progress)
        return self

    async def clone(
        self, patch: Mapping[str, Any] | None = None, *, name: str | None = None
    ) -> Self:
        """Queue another of the same resolved spec, with changes (a JSON merge patch); return it."""
        body: dict[str, Any] = {"from": self.id, "patch": dict(patch or {})}
        if name is not None:
            body["name"] = name
        path, headers = place(self._collection), calls.keyed(None)
        data = await self._transport.json("POST", path, body=body, headers=headers)
        return type(self)(self._transport, data)

    async def update(self, **changes: Any) -> Self:
        """Change what is known of it: `name`, `note`, `labels` (a value of None removes one),
        `keep_until` (until then nothing deletes it) and, while it waits, `priority`.

        None removes a value; what is not named stays. The spec stays as it is.
        """
        self.data = await self._transport.json("PATCH", self._path, body=changes)
        return self

    async def pause(self) -> Self:
        """Pause: no work is lost, and `resume` goes on to the same bits."""
        self.data = await self._transport.json("POST", f"{self._path}/pause")
        return self

    async def resume(self) -> Self:
        """Go on after a pause."""
        self.data = await self._transport.json("POST", f"{self._path}/resume")
        return self

    async def cancel(self) -> Self:
        """Ask for an end; one that has ended stays as it is."""
        self.data = await self._transport.json("POST", f"{self._path}/cancel")
        return self

    async def delete(self) -> None:
        """Remove it once it has ended: a job with its history and weights, a study with its
        runs."""
        await self._transport.send("DELETE", self._path)
