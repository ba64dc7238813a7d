"""The record of a use of weights: predictions of rows, or a file for another library, made by a
worker from what a job or a study's run has learned."""

from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

from core.ids import time_text
from core.jobs import JSON, NUMBER, TEXT
from core.specs.base import Json

UseKind = Literal["predict", "onnx"]
UseStatus = Literal["queued", "running", "succeeded", "failed"]

INPUT_NAME: Final = "rows.npz"
"""Name of the artifact with the rows that were posted."""
RESULT_NAME: Final = "result.npz"
"""Name of the artifact with predictions."""
ONNX_NAME: Final = "model.onnx"
"""Name of the artifact with an exported model."""


@dataclass(frozen=True)
class UseRecord:
    """All that is stored of a use, but for its artifacts. As of `core.jobs.JobRecord`, this is the
    one place that names its fields.

    Attributes:
        of: the job or study whose weights are used; the use goes with it.
        run: index of the study's run; None: `of` is a job.
        device: that the job's spec asks for.
        checkpoint: as it was asked for.
        weights: the place of the weights (`core.artifacts.weights.WeightsPlace` as JSON).
        model: `core.uses.model.ModelFacts` as JSON.
        rows: where the rows come from: `{"kind": "posted"}`, or `{"kind": "dataset", "id",
            "file"}`; None of an export.
        num_rows: of a prediction.
        unseen: of posted rows, as of `core.uses.coding.Coded`.
        result: the facts of what was made; None until it has succeeded.
        error: `{"code", "message", "param"}` of one that has failed.
        age_ms: age at which it expires, counted from its end; 0: it goes with its job only.
        expires_ms: milliseconds since 1970 at which it expires; 0: never.
        size_bytes: of its artifacts.
        owner, key_id: as of a job.
        version: grows with every change of the record.
    """

    id: Annotated[str, TEXT]
    kind: Annotated[UseKind, TEXT]
    status: Annotated[UseStatus, TEXT]
    of: Annotated[str, TEXT]
    created_at: Annotated[str, TEXT]
    device: Annotated[str, TEXT]
    checkpoint: Annotated[str, TEXT]
    weights: Annotated[Json, JSON]
    model: Annotated[Json, JSON]
    run: Annotated[int | None, NUMBER] = None
    rows: Annotated[Json | None, JSON] = None
    num_rows: Annotated[int | None, NUMBER] = None
    unseen: Annotated[Json, JSON] = field(default_factory=dict)
    result: Annotated[Json | None, JSON] = None
    error: Annotated[Json | None, JSON] = None
    age_ms: Annotated[int, NUMBER] = 0
    expires_ms: Annotated[int, NUMBER] = 0
    size_bytes: Annotated[int, NUMBER] = 0
    started_at: Annotated[str | None, TEXT] = None
    finished_at: Annotated[str | None, TEXT] = None
    owner: Annotated[str | None, TEXT] = None
    key_id: Annotated[str | None, TEXT] = None
    request_id: Annotated[str | None, TEXT] = None
    traceparent: Annotated[str | None, TEXT] = None
    version: Annotated[int, NUMBER] = 0

    @property
    def terminal(self) -> bool:
        return self.status in {"succeeded", "failed"}

    @property
    def expires_at(self) -> str | None:
        """The time from which on it is removed; None: while it is made, and where it goes with its
        job only."""
        return time_text(self.expires_ms)
