"""Models: what a job, or a run of a study, has learned, and what is made of it."""

from asyncio import sleep
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thalweg._async import calls
from thalweg._async.datasets import AsyncDatasets
from thalweg._async.transport import AsyncTransport, deadline, place
from thalweg.errors import WaitTimeoutError
from thalweg.predictions import (
    PredictionError,
    Predictions,
    Rows,
    Windows,
    is_frame,
    refuse_ways_to_read,
    request_of,
    upload_of,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


class AsyncModel:
    """The model of a job, or of a run of a study: its weights, its predictions, its files."""

    _transport: AsyncTransport
    _path: str

    async def weights(self, checkpoint: str | int = "final") -> "dict[str, NDArray[Any]]":
        """Read the trained weights as arrays, by name.

        `checkpoint`: `final`, `best`, `initial`, or another that is kept.
        """
        return await calls.read_weights(self._transport, f"{self._path}/model", checkpoint)

    async def save_weights(self, path: str | Path, checkpoint: str | int = "final") -> Path:
        """Write the trained weights into a file (safetensors)."""
        return await calls.save(self._transport, f"{self._path}/model", path, checkpoint=checkpoint)

    async def predict(
        self,
        rows: Rows,
        *,
        checkpoint: str | int = "final",
        targets: Any = None,
        windows: Windows | None = None,
        schema: Mapping[str, Any] | str | None = None,
        media_type: str | None = None,
        timeout_s: float | None = None,
    ) -> Predictions:
        """Predict rows with the weights, and return the predictions by column.

        Args:
            rows: a frame of pandas or Polars, an array, a list of lists or of dicts, a data set or
                its id, or a file (a path, or bytes), which is uploaded for this alone; of a model
                of images also the path of one (PNG or JPEG). Of a forecast rows of the series, in
                the order of time; of a model of language texts.
            checkpoint: the weights: `final`, `best`, `initial`, or another that is kept.
            targets: what the rows are, for `Predictions.metrics`; rows with names may have it
                among them instead.
            windows: of a forecast: `last` (the default) tells what comes after the last row, `all`
                what comes after each row that has enough before it.
            schema: of a file that is uploaded: how it is read, as `datasets.upload` takes it.
            media_type: of such a file: what it holds; left out, its ending tells.
            timeout_s: seconds to wait; None waits as long as it takes.

        Of a frame, `Predictions.frame` is one of the same library.

        Raises `InvalidRequestError` with row and column of each mistake, `PredictionError` where it
        failed, `WaitTimeoutError` when it is not done in time; it goes on.

        Example:
            >>> found = await trained.predict([[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]])
            >>> found["class"].tolist()
            ['setosa', 'virginica']
        """
        body = request_of(rows, checkpoint, targets, windows)
        if "features" in body or "dataset" in body:
            refuse_ways_to_read(schema, media_type)
            return await self._predicted(body, rows, timeout_s)
        uploaded, media_type = upload_of(rows, media_type)  # for this alone
        datasets = AsyncDatasets(self._transport)
        data = await datasets.upload(uploaded, schema=schema, media_type=media_type)
        try:
            return await self._predicted({**body, "dataset": data.id}, rows, timeout_s)
        finally:
            await data.delete()

    async def _predicted(
        self, body: dict[str, Any], rows: Rows, timeout_s: float | None
    ) -> Predictions:
        left = deadline(timeout_s)
        hold = max(0.0, min(calls.HOLD_S, left()))
        found = await self._transport.json(
            "POST",
            f"{self._path}/predictions",
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
            found = await self._transport.json("GET", at, params=query, wait_s=hold)
        if found["status"] == "failed":
            raise PredictionError(found["error"])
        return Predictions(found, rows if is_frame(rows) else None)

    async def save_onnx(
        self,
        path: str | Path,
        checkpoint: str | int = "final",
        timeout_s: float | None = None,
    ) -> Path:
        """Write the model into an ONNX file, which a worker of the service makes the first time.

        Raises `WaitTimeoutError` when it is not made in time; it goes on.
        """
        query = {"checkpoint": checkpoint, "format": "onnx"}
        model, left = f"{self._path}/model", deadline(timeout_s)
        while (await self._transport.send("HEAD", model, params=query)).status_code == 202:
            if left() <= 0:
                raise WaitTimeoutError(f"The model is not written after {timeout_s:g} s")
            await sleep(max(0.0, min(0.5, left())))
        return await calls.save(self._transport, model, path, **query)

    async def card(self, checkpoint: str | int = "final") -> str:
        """Return what tells of the model in words (Markdown): data, metrics, curve, spec."""
        query = {"checkpoint": checkpoint, "format": "card"}
        return (await self._transport.send("GET", f"{self._path}/model", params=query)).text
