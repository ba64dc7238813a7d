"""Calls that jobs, studies and runs share."""

import json
import re
from asyncio import sleep
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx2

from thalweg._async.transport import AsyncTransport, deadline
from thalweg.errors import NotFoundError, ThalwegError, WaitTimeoutError
from thalweg.events import POLL_S, SILENT_S, Event
from thalweg.history import History, joined, read_npz
from thalweg.progress import Progress
from thalweg.records import TERMINAL, DatasetRecord, WorkRecord

if TYPE_CHECKING:
    from numpy.typing import NDArray

PAGE_ROWS = 10_000
"""Rows of a page of a history."""
HOLD_S = 20.0
"""Seconds for which the service holds a reply until something has ended."""


def keyed(key: str | None) -> dict[str, str]:
    """Return the header by which a request that is sent twice makes one thing only."""
    return {"Idempotency-Key": key or uuid4().hex}


def series_of(series: str | Sequence[str] | None) -> str | None:
    """Return names of series as a query has them."""
    return series if series is None or isinstance(series, str) else ",".join(series)


async def read_history(
    transport: AsyncTransport,
    path: str,
    of: str,
    kind: str,
    series: str | Sequence[str] | None,
    after: float | None,
    points: int | None,
    until: float | None = None,
) -> History:
    """Read rows: all that there are behind `after` up to `until`, or a view of at most so many of
    them."""
    query: dict[str, Any] = {"kind": kind, "series": series_of(series), "format": "npz"}
    query |= {"points": points} if points is not None else {"limit": PAGE_ROWS}
    pages = []
    from_row: float | str | None = after
    while True:
        reply = await transport.send(
            "GET", path, params={**query, "after": from_row, "until": until}
        )
        pages.append(read_npz(reply.content))
        next_after = re.search(
            r"[?&]after=([-+.\de]+)[^>]*>; rel=\"next\"", reply.headers.get("link", "")
        )
        if next_after is None:
            return History(of, kind, joined(pages))
        from_row = next_after[1]


async def read_weights(
    transport: AsyncTransport, path: str, checkpoint: str | int
) -> "dict[str, NDArray[Any]]":
    """Read weights as arrays, by name."""
    from safetensors.numpy import load

    reply = await transport.send("GET", path, params={"checkpoint": checkpoint})
    found: dict[str, NDArray[Any]] = load(reply.content)
    return found


async def save(transport: AsyncTransport, path: str, target: str | Path, **query: Any) -> Path:
    """Write what a call gives into a file, which is there whole or not at all."""
    to = Path(target)
    part = to.with_name(f"{to.name}.part")
    tries = 0
    while True:
        try:
            async with transport.open(path, params=query) as reply:
                with part.open("wb") as file:
                    async for chunk in reply.aiter_bytes():
                        file.write(chunk)
            break
        except httpx2.TransportError as error:
            part.unlink(missing_ok=True)
            tries += 1
            if tries > 5:
                raise transport.unreachable(error) from error
    part.replace(to)
    return to


async def wait_for(
    transport: AsyncTransport,
    path: str,
    record: WorkRecord | DatasetRecord,
    timeout_s: float | None,
    progress: bool,
) -> None:
    """Wait until a job or a study has ended, or a data set is checked; `record` then tells so.

    Raises `WaitTimeoutError` when it has not ended in time; it goes on.
    """
    left = deadline(timeout_s)
    with Progress(record, shown=progress) as bar:
        while not record.ended:
            if left() <= 0:
                raise WaitTimeoutError(f"{record.id} is {record.status} after {timeout_s:g} s")
            hold = max(0.0, min(POLL_S if progress else HOLD_S, left()))
            query = {"wait": f"{hold:.3f}"}
            record.data = await transport.json("GET", path, params=query, wait_s=hold)
            bar.update(record)


async def stream(
    transport: AsyncTransport, path: str, query: dict[str, Any]
) -> AsyncIterator[Event]:
    """Read events until the last one; a stream that breaks is gone on with behind the last event.

    Raises `NotFoundError` where there is no such stream.
    """
    last: str | None = None
    lost = 0
    while True:
        headers = {"Accept": "text/event-stream"} | (
            {} if last is None else {"Last-Event-ID": last}
        )
        try:
            async with transport.open(
                path, params=query, headers=headers, silent_s=SILENT_S
            ) as reply:
                async for each in httpx2.EventSource(reply, max_event_size=None):
                    lost = 0
                    last = each.id or last
                    if each.data:
                        yield Event.of(each.event, json.loads(each.data), each.id or None)
                    if each.event == "end":
                        return
            broken: Exception = ThalwegError("the stream ended before its last event")
        except httpx2.TransportError as error:
            broken = error
        lost += 1
        if lost > 20:
            raise transport.unreachable(broken) from broken
        await sleep(min(0.05 * 2.0**lost, 5.0))


async def poll(
    transport: AsyncTransport,
    path: str,
    query: dict[str, Any],
) -> AsyncIterator[Event]:
    """Tell of a job as `stream` does, by asking again and again."""
    after = query.get("after")
    if after == "latest":
        job = await transport.json("GET", path)
        after = (job["latest"] or {"step": -1})["step"]
    kind, seen = query.get("kind") or "train", None
    while True:
        job = await transport.json("GET", path, params={"wait": POLL_S}, wait_s=POLL_S)
        if (job["status"], job["phase"]) != seen:
            seen = (job["status"], job["phase"])
            yield Event.of("status", job, None)
        rows = await read_history(
            transport, f"{path}/history", job["id"], kind, query.get("series"), after, None
        )
        if rows.num_rows:
            after = int(rows["step"][-1])
            yield Event("points", {}, rows)
        if job["status"] in TERMINAL:
            if job["diagnosis"] is not None:
                yield Event.of("diagnosis", job["diagnosis"], None)
            yield Event.of("end", job, None)
            return


async def events(
    transport: AsyncTransport, path: str, query: dict[str, Any], *, polled: bool
) -> AsyncIterator[Event]:
    """Read the events of a job; of a service without streams by asking."""
    begun = False
    try:
        async for event in stream(transport, f"{path}/events", query):
            begun = True
            yield event
    except NotFoundError:
        if begun or not polled:
            raise
    else:
        return
    async for event in poll(transport, path, query):
        yield event
