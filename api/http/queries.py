"""The query parameters of the calls, as models that refuse what they do not know."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from core.datasets import DatasetStatus
from core.ids import JOB_PREFIX, STUDY_PREFIX, pattern_of, utc_text
from core.jobs import Status
from core.webhooks.delivery import DeliveryStatus

_NUMBER = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][-+]?[0-9]{1,3})?")
_STEP = re.compile(r"[0-9]{1,15}", re.ASCII)
_LABEL = re.compile(r"^[A-Za-z0-9._/-]{1,63}:[\s\S]{0,255}$")
_GROUPS = re.compile(r"^(key|label:[A-Za-z0-9._/-]{1,63})$")


def _utc(text: str) -> str:
    if (found := utc_text(text)) is not None:
        return found
    raise PydanticCustomError(
        "rfc3339",
        "must be an RFC 3339 time with an offset, such as 2026-11-22T10:00:00Z (write + as %2B)",
    )


def _label(text: str) -> str:
    if not _LABEL.fullmatch(text):
        raise PydanticCustomError("label", "must be key:value")
    return text


def _groups(text: str) -> str:
    if not _GROUPS.fullmatch(text):
        raise PydanticCustomError("groups", "must be key, or label: and a label's name")
    return text


def _id_of(prefix: str, noun: str) -> AfterValidator:
    """Refuse what is no id of the noun's."""
    wanted = re.compile(pattern_of(prefix))

    def check(text: str) -> str:
        if not wanted.fullmatch(text):
            words = "must be a {noun}'s id: {prefix}_ and 26 characters"
            raise PydanticCustomError("id", words, {"noun": noun, "prefix": prefix})
        return text

    return AfterValidator(check)


def _printable(text: str) -> str:
    if not text.isprintable() or not text.strip():
        raise PydanticCustomError("name", "must be printable text")
    return text


def _digits(text: object) -> object:
    """Refuse what is not digits alone: pydantic also takes `1_0`, ` 1 ` and `1.0`."""
    if isinstance(text, str) and not re.fullmatch(r"-?[0-9]{1,15}", text):
        raise PydanticCustomError("int_parsing", "must be a whole number")
    return text


def _decimal(text: object) -> object:
    if isinstance(text, str) and not _NUMBER.fullmatch(text):
        raise PydanticCustomError("float_parsing", "must be a number")
    return text


# These stand after the bounds in each annotation: the document then shows the bounds.
DIGITS = BeforeValidator(_digits)
DECIMAL = BeforeValidator(_decimal)


class Query(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class PageQuery(Query):
    limit: Annotated[int, Field(ge=1, le=200), DIGITS] = 20
    """The most entries that the page may have."""
    after: Annotated[str, Field(max_length=1000)] | None = None
    """The `next_cursor` of an earlier reply."""


Label = Annotated[str, AfterValidator(_label), Field(json_schema_extra={"pattern": _LABEL.pattern})]


CreatedAfter = Annotated[
    str, AfterValidator(_utc), Field(json_schema_extra={"format": "date-time"})
]


class JobsQuery(PageQuery):
    status: Annotated[list[Status], Field(max_length=20)] = []
    """Any of these statuses; repeatable."""
    label: Annotated[list[Label], Field(max_length=64)] = []
    """A label `key:value`; repeatable, all must hold."""
    created_after: CreatedAfter | None = None
    """A time of RFC 3339, with an offset."""


class DatasetsQuery(PageQuery):
    status: Annotated[list[DatasetStatus], Field(max_length=20)] = []
    """Any of these statuses; repeatable."""
    label: Annotated[list[Label], Field(max_length=64)] = []
    """A label `key:value`; repeatable, all must hold."""
    created_after: CreatedAfter | None = None
    """A time of RFC 3339, with an offset."""


class DeliveriesQuery(PageQuery):
    status: Annotated[list[DeliveryStatus], Field(max_length=20)] = []
    """Any of these statuses; repeatable."""
    job: (
        Annotated[
            str,
            _id_of(JOB_PREFIX, "job"),
            Field(json_schema_extra={"pattern": pattern_of(JOB_PREFIX)}),
        ]
        | None
    ) = None
    """The id of the job that they tell of."""
    study: (
        Annotated[
            str,
            _id_of(STUDY_PREFIX, "study"),
            Field(json_schema_extra={"pattern": pattern_of(STUDY_PREFIX)}),
        ]
        | None
    ) = None
    """The id of the study that they tell of."""


class UploadQuery(Query):
    name: Annotated[str, Field(max_length=200), AfterValidator(_printable)] | None = None
    """A name to know it by; it need not be its own."""
    upload_schema: Annotated[str | None, Field(alias="schema", max_length=60_000)] = None
    """JSON that overrides what would be inferred: column and kind (`{"zip": "category"}`)."""
    label: Annotated[list[Label], Field(max_length=64)] = []
    """A label `key:value`; repeatable."""


class FirstRowsQuery(Query):
    rows: Annotated[int, Field(ge=1, le=1000), DIGITS] = 20
    """The most rows that are shown."""


class RunsQuery(Query):
    limit: Annotated[int, Field(ge=1, le=1000), DIGITS] = 20
    """The most entries that the page may have."""
    after: Annotated[str, Field(max_length=1000)] | None = None
    """The `next_cursor` of an earlier reply."""
    sort: Literal["index", "metric"] = "index"
    """`metric`: the best first, by the study's goal; last those that diverged, failed or were
    stopped, and those without a finite one."""
    status: Annotated[list[Status], Field(max_length=20)] = []
    """Any of these statuses; repeatable."""


class UsageQuery(Query):
    by: Annotated[
        str, AfterValidator(_groups), Field(json_schema_extra={"pattern": _GROUPS.pattern})
    ] = "key"
    """Grouping: `key`, or `label:NAME`."""
    since: (
        Annotated[str, AfterValidator(_utc), Field(json_schema_extra={"format": "date-time"})]
        | None
    ) = None
    """A time of RFC 3339, with an offset: what was created then or later is counted."""
    limit: Annotated[int, Field(ge=1, le=200), DIGITS] = 20
    """The most entries that the page may have."""
    after: Annotated[str, Field(max_length=1000)] | None = None
    """The `next_cursor` of an earlier reply."""


class ComparisonQuery(Query):
    job: Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=101)] = []
    """The id of a job; repeatable: 2 to 100 different ones."""
    label: Annotated[
        list[
            Annotated[
                str, AfterValidator(_label), Field(json_schema_extra={"pattern": _LABEL.pattern})
            ]
        ],
        Field(max_length=64),
    ] = []
    """A label `key:value`, in place of ids; repeatable, all must hold."""
    baseline: Annotated[str, Field(max_length=200)] | None = None
    """The id of the job whose metrics the others' are compared with; it is one of the jobs in any
    case."""
    x: Literal["step", "epoch", "time_s"] = "step"
    """The common axis of the curves."""
    points: Annotated[int, Field(ge=2, le=2_000), DIGITS] = 200
    """The most places of the axis in equal distances; last rows and rows that are not finite come
    on top."""


class ComparisonPlotQuery(ComparisonQuery):
    metric: Annotated[str, Field(max_length=100)] = "loss"
    """The metric to draw: `loss`, or `eval.loss` and the other metrics of evaluations."""
    format: Literal["svg", "png"] = "svg"


class PredictQuery(Query):
    wait: Annotated[float, Field(ge=0, le=60), DECIMAL] | None = None
    """Hold the reply until it is done, at most this many seconds."""


class PredictionQuery(PredictQuery):
    format: Literal["json", "csv", "ndjson", "npz"] = "json"
    """The form of the predictions; others than `json` are of one that has succeeded."""


class JobQuery(Query):
    wait: Annotated[float, Field(ge=0, le=60), DECIMAL] | None = None
    """Hold the reply until the job is terminal, at most this many seconds."""


class HistoryQuery(Query):
    kind: Literal["train", "eval", "system"] = "train"
    """The kind of rows: one for each recorded step, one for each evaluation; or, of jobs, what the
    process that trains used, every few seconds (its axis is `time_s`)."""
    series: Annotated[str, Field(max_length=1000)] | None = None
    """Names of series with commas between; left out: all that are stored. `time_s` (seconds of
    training since step 0) and `epoch` (examples seen by training rows) come only where they are
    named."""
    after: Annotated[float, Field(ge=-1, le=1e15), DECIMAL] | None = None
    """Rows with a larger step only; with `kind=system`, later ones (seconds)."""
    until: Annotated[float, Field(ge=0, le=1e15), DECIMAL] | None = None
    """Rows up to and with this step only; with `kind=system`, up to this time (seconds)."""
    limit: Annotated[int, Field(ge=1, le=10_000), DIGITS] | None = None
    """The most rows that a page may have. Left out: 1000."""
    points: Annotated[int, Field(ge=1, le=10_000), DIGITS] | None = None
    """A downsampled view of at most this many rows instead of a page: of the whole history, or of
    the rows between `after` and `until`."""
    format: Literal["json", "csv", "ndjson", "npz"] = "json"


def _step_or_latest(text: str) -> str:
    if not re.fullmatch(r"-1|[0-9]{1,15}|latest", text):
        raise PydanticCustomError("after", "must be a step (-1 or more), or latest")
    return text


class RowsQuery(Query):
    kind: Literal["train", "eval"] = "train"
    """The kind of rows: one for each recorded step, or one for each evaluation."""
    series: Annotated[str, Field(max_length=1000)] | None = None
    """Names of series with commas between; left out: all."""
    after: (
        Annotated[
            str,
            AfterValidator(_step_or_latest),
            Field(json_schema_extra={"pattern": "^(-1|[0-9]{1,15}|latest)$"}),
        ]
        | None
    ) = None
    """Rows with a larger step only; `latest`: those that come from now on."""


class StudyEventsQuery(RowsQuery):
    run: Annotated[int, Field(ge=0), DIGITS] | None = None
    """`index` of the run whose rows come too."""


class EverythingQuery(RowsQuery):
    job: Annotated[list[str], Field(max_length=100)] = []
    """Id of a job whose rows come too; repeatable."""


ModelFormat = Literal["safetensors", "onnx", "card"]


class RunModelQuery(Query):
    checkpoint: Literal["final", "best", "initial"] = "final"
    """Weights by name."""
    format: ModelFormat = "safetensors"
    """The weights alone; the model as ONNX, which takes coded numbers and standardizes them itself;
    or a card that tells of it in Markdown."""


def _checkpoint(text: str) -> str:
    if text not in {"final", "best", "initial", "raw"} and not _STEP.fullmatch(text):
        raise PydanticCustomError(
            "checkpoint", "must be final, best, initial, raw, or the step of a kept checkpoint"
        )
    return text


class JobModelQuery(Query):
    checkpoint: Annotated[
        str,
        AfterValidator(_checkpoint),
        Field(json_schema_extra={"pattern": "^(final|best|initial|raw|[0-9]{1,15})$"}),
    ] = "final"
    """Weights by name (`raw`: the last ones that were trained, of a job whose results are of their
    average), or the step of one of the kept checkpoints."""
    format: ModelFormat = "safetensors"
    """The weights alone; the model as ONNX, which takes coded numbers and standardizes them itself;
    or a card that tells of it in Markdown."""


class PreviewQuery(Query):
    """The fields of the schedule stand beside these, under their own names."""

    model_config = ConfigDict(extra="allow")
    lr: Annotated[float, Field(gt=0, allow_inf_nan=False), DECIMAL] = 0.1
    """The base rate: the optimizer's."""
    max_steps: Annotated[int, Field(ge=1, le=100_000), DIGITS] = 100
    """Number of updates; lengths that a schedule leaves out follow from it."""
    lr_scale: Annotated[float, Field(gt=0, allow_inf_nan=False), DECIMAL] = 1.0
    """Factor on the rates: of a group of parameters."""


class PlotQuery(Query):
    kind: Literal["loss", "lr", "path", "spectrum", "landscape"] = "loss"
    """The picture; the last two show what a full diagnosis measured."""
    format: Literal["svg", "png"] = "svg"


class StudyPlotQuery(Query):
    kind: Literal["curves", "profile"] = "curves"
    """The metric's course of the leading configurations, with bands over the repeats; or the share
    of problems that each solves within a factor of the best."""
    format: Literal["svg", "png"] = "svg"
