"""The data set that examples name, as its record would say it."""

from typing import Final

from core.specs.examples import REQUIRED
from core.specs.sizes.uploads import ColumnFacts, UploadFacts, Uploads

EXAMPLE_ID: Final[str] = REQUIRED["dataset"]["id"]
FILE: Final = "file_01k2m3n4p5q6r7s8t9v0w1x2y3"


def column(
    name: str,
    dtype: str = "number",
    *,
    shape: tuple[int, ...] = (),
    missing: int = 0,
    categories: int | None = None,
    values: tuple[int, ...] | None = None,
) -> ColumnFacts:
    return ColumnFacts(name, dtype, shape, missing, categories, values)


def table(
    *columns: ColumnFacts, rows: int = 100, kind: str = "table", status: str = "ready"
) -> UploadFacts:
    return UploadFacts(status, kind, FILE if status == "ready" else "", rows, columns)


FOLD: Final = ColumnFacts("fold", "integer", values=(0, 1, 2), counts=(60, 20, 20))

EXAMPLE_UPLOADS: Final[Uploads] = {EXAMPLE_ID: table(column("size"), FOLD, column("price"))}
