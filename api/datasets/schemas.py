"""Schemas of the replies about data sets."""

from typing import Annotated, Any, Literal

from pydantic import Field

from api.http.schemas import Counter, Mistake, Page, RefusalView, Time, View
from core.datasets import DatasetStatus
from core.ids import DATA_PREFIX, pattern_of

DataId = Annotated[str, Field(pattern=pattern_of(DATA_PREFIX))]


class ColumnView(View):
    """A column of a table, an array, the images and their classes, or a tensor."""

    name: str
    dtype: str
    """`number`, `integer`, `bool`, `category`, `date` or `text`; of weights the tensor's type."""
    shape: list[int]
    """The shape of one row's value: empty for a single one; of weights the tensor's."""
    num_missing: Counter
    """Rows without a value."""
    categories: list[str] | None
    """The categories of the whole file, sorted; null unless `dtype` is `category`."""


class DatasetLinks(View):
    self: str
    preview: str


class Dataset(View):
    """An uploaded file that jobs and studies can name as their data."""

    id: DataId
    name: str | None
    kind: Literal["table", "arrays", "text", "images", "weights"]
    status: DatasetStatus
    """`checking` while the file is looked at, then `ready` or `refused` (`error` says why)."""
    num_rows: int | None
    """The number of rows, images, or lines of a text; null of weights, and while it is unknown."""
    columns: list[ColumnView]
    sha256: str
    """SHA-256 of the file as it was sent."""
    size_bytes: Counter
    """Size of the file as it was sent."""
    labels: dict[str, str]
    created_at: Time
    expires_at: Time | None
    """The time from which on it is removed. A job or study that uses it and has not ended puts that
    off, and each new one lets the age count anew. null: never."""
    keep_until: Time | None
    """The time until which it is neither removed nor deleted."""
    error: RefusalView | None
    warnings: list[Mistake] | None = None
    """Doubts about its columns, each with a way out: texts that seem to be dates or numbers and
    are taken for categories (or text), categories that differ in blanks or case alone, as many of
    them as rows. `param` is the column. Left out where there is nothing to warn of."""
    links: DatasetLinks


class DatasetPage(Page):
    data: list[Dataset]


class DatasetPreview(View):
    """The first rows of a data set."""

    columns: list[ColumnView]
    num_rows: int | None
    rows: list[dict[str, Any]]
    """Column and value: categories by name, dates in ISO 8601, null where a value is missing."""
