"""Schemas of the replies about predictions."""

from typing import Annotated

from pydantic import Field

from api.http.schemas import Counter, JobId, Mistake, Number, StudyId, Time, View
from core.ids import PREDICTION_PREFIX, pattern_of
from core.uses.record import UseStatus

PredictionId = Annotated[str, Field(pattern=pattern_of(PREDICTION_PREFIX))]


class PredictedClass(View):
    """A row's class."""

    class_: Annotated[str | None, Field(alias="class")]
    probabilities: list[Number] | None
    """The probability of each of `classes`; null where the loss gives none (multi_margin)."""


class PredictedLabels(View):
    """A row's labels."""

    class_: Annotated[list[int], Field(alias="class")]
    probabilities: list[Number]
    """The probability of each."""


class PredictedValue(View):
    """A row's value."""

    value: Number | list[Number]
    """The value, in the units of the data; a list, where several are predicted."""


class PredictionMetrics(View):
    """Figures of predictions, of the rows of which it is known what they are."""

    model_config = View.model_config | {"extra": "allow"}
    num_rows: Counter
    """Rows of which it is known."""
    loss: Number | None = None
    """The job's loss; missing where its weights are those of the training rows."""
    confusion_matrix: list[list[int]] | None = None
    """Rows of each class (down) that were taken for each class (across)."""


class PredictionProblem(View):
    """The reason why there are no predictions."""

    code: str
    message: str
    param: str | None
    """The field or column that it is about."""


class PredictionLinks(View):
    self: str
    model: str
    """The weights."""


class Prediction(View):
    """Predictions of rows by a job's, or a run's, weights."""

    id: PredictionId
    status: UseStatus
    job_id: JobId | None
    """The job whose weights these are; null for a study's run."""
    study_id: StudyId | None
    """The study whose run's weights these are; null for a job."""
    run: int | None
    """The index of the study's run."""
    checkpoint: str
    """The weights: by name, or the step of a kept checkpoint."""
    step: int | None
    """Updates that these weights have seen; null until it has succeeded."""
    error: PredictionProblem | None
    """The reason why it failed; null otherwise."""
    num_rows: Counter | None
    """Number of rows."""
    classes: list[str] | None
    """Names of the classes, in the order of `probabilities`; null for values and labels."""
    target_names: list[str]
    """Columns that the model predicts; empty where they have no names."""
    data: list[PredictedClass | PredictedLabels | PredictedValue] | None
    """One entry a row, in the order of the input; null until it has succeeded."""
    metrics: PredictionMetrics | None
    """Null where it is not known what the rows are."""
    unseen: dict[str, list[str]]
    """Values, by column, that are no category of the training data: each is taken for one that is
    kept for such."""
    warnings: list[Mistake] | None = None
    """Rows for which nothing finite came out, with the reason and the way out; missing without
    any."""
    created_at: Time
    started_at: Time | None
    finished_at: Time | None
    expires_at: Time | None
    """The time from which on it is removed; null: it goes with its job."""
    links: PredictionLinks
