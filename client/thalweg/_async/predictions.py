"""Predictions with the weights of a job or of a run, and models in other forms."""

from asyncio import sleep
from pathlib import Path
from typing import Any

from thalweg._async import calls
from thalweg._async.datasets import AsyncDatasets
from thalweg._async.transport import AsyncTransport, deadline, place
from thalweg.errors import WaitTimeoutError
from thalweg.predictions import (
    DATA_PREFIX,
    PredictionError,
    Predictions,
    Rows,
    features_of,
    is_frame,
)
from thalweg.records import DatasetRecord


async def predict(
    transport: AsyncTransport,
    path: str,
    rows: Rows,
    of: dict[str, Any],
    targets: Any,
    timeout_s: float | None,
) -> Predictions:
    """Have rows predicted with the weights at `path`, and wait for it. `of`: the checkpoint, and of
    a series its windows, where they are chosen."""
    body: dict[str, Any] = {name: value for name, value in of.items() if value is not None}
    if targets is not None:
        body["targets"] = targets.tolist() if hasattr(targets, "tolist") else list(targets)
    if isinstance(rows, DatasetRecord):
        body["dataset"] = rows.id
    elif isinstance(rows, str) and rows.startswith(DATA_PREFIX):
        body["dataset"] = rows
    elif (features := features_of(rows)) is not None:
        body["features"] = features
    else:  # uploaded for this alone
        uploaded: Any = rows
        data = await AsyncDatasets(transport).upload(uploaded)
        try:
            body["dataset"] = data.id
            return await _predicted(transport, path, body, rows, timeout_s)
        finally:
            await data.delete()
    return await _predicted(transport, path, body, rows, timeout_s)


async def _predicted(
    transport: AsyncTransport, path: str, body: Any, rows: Any, timeout_s: float | None
) -> Predictions:
    left = deadline(timeout_s)
    hold = max(0.0, min(calls.HOLD_S, left()))
    found = await transport.json(
        "POST",
        f"{path}/predictions",
        params={"wait": f"{hold:.3f}"},
        body=body,
        headers=calls.keyed(None),
        wait_s=hold,
    )
    while found["status"] not in {"succeeded", "failed"}:
        if left() <= 0:
            raise WaitTimeoutError(f"{found['id']} is {found['status']} after {timeout_s:g} s")
        hold = max(0.0, min(calls.HOLD_S, left()))
        query = {"wait": f"{hold:.3f}"}
        at = place("predictions", found["id"])
        found = await transport.json("GET", at, params=query, wait_s=hold)
    if found["status"] == "failed":
        raise PredictionError(found["error"])
    return Predictions(found, rows if is_frame(rows) else None)


async def save_onnx(
    transport: AsyncTransport,
    path: str,
    to: str | Path,
    checkpoint: str | int,
    timeout_s: float | None,
) -> Path:
    """Have a model written as ONNX, wait for it, and write it into a file."""
    query = {"checkpoint": checkpoint, "format": "onnx"}
    left = deadline(timeout_s)
    while (await transport.send("HEAD", f"{path}/model", params=query)).status_code == 202:
        if left() <= 0:
            raise WaitTimeoutError(f"The model is not written after {timeout_s:g} s")
        await sleep(max(0.0, min(0.5, left())))
    return await calls.save(transport, f"{path}/model", to, **query)


async def read_card(transport: AsyncTransport, path: str, checkpoint: str | int) -> str:
    """Read what tells of a model in words (Markdown)."""
    query = {"checkpoint": checkpoint, "format": "card"}
    return (await transport.send("GET", f"{path}/model", params=query)).text
