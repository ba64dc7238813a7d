"""Predictions of rows, and the forms in which rows are given."""

import csv
import io
import math
import os
import zipfile
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from thalweg.errors import ThalwegError, UnsendableError
from thalweg.history import missing
from thalweg.records import DatasetRecord, numbers
from thalweg.sources import MEDIA_TYPES, Uploadable

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import polars as pl
    from numpy.typing import NDArray

Rows: TypeAlias = "Uploadable | DatasetRecord | list[Any] | tuple[Any, ...] | NDArray[Any]"
"""Rows to predict: a frame of pandas or Polars, an array, a list of lists, of dicts or of texts, a
file to upload (a path, or bytes), or a data set."""
Windows: TypeAlias = Literal["last", "all"]
"""Windows of a series that are predicted."""
MOST_CELLS: Final = 100_000
"""Cells of a frame up to which its rows go with the request; larger ones are uploaded."""
DATA_PREFIX: Final = "data_"
IMAGE_ENDINGS: Final = frozenset({".png", ".jpg", ".jpeg"})
_RUN: Final = ("=", "+", "-", "@", "\t", "\r")
"""Beginnings of texts that a spreadsheet takes for formulas."""


class PredictionError(ThalwegError):
    """A prediction that came to nothing: `code` says how."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(str(error["message"]))
        self.code = str(error["code"])


class Predictions(Mapping[str, "NDArray[np.generic]"]):
    """Predictions by column, each an array with an entry for each row.

    Of classes there are `class` (names) and `probabilities` (rows × classes); of several labels
    `class` is rows × labels, 0 or 1; of values there is `value` (rows, or rows × values). Of a
    forecast a row is a window of the series, and its values are those of the times after it, time
    after time; of a model of language it is a text, and its class the token after it.

    Example:
        >>> found = client.jobs.get(trained.id).predict([[5.1, 3.5, 1.4, 0.2]])
        >>> found["class"].tolist(), found["probabilities"].shape
        (['setosa'], (1, 3))

    Attributes:
        data: the reply, as a dict.
    """

    def __init__(self, data: dict[str, Any], asked: Any = None) -> None:
        """Read a reply. `asked`: the rows, where they were a frame."""
        import numpy as np

        self.data = data
        self._asked = asked
        rows = data["data"] or []
        self._columns: dict[str, NDArray[Any]] = {}
        for name in ("class", "probabilities", "value"):
            if rows and rows[0].get(name) is not None:
                cells = [row[name] for row in rows]
                kind = None if name == "class" else float
                cells = cells if name == "class" else numbers(cells)
                self._columns[name] = np.array(cells, dtype=kind)
            elif rows and name == "class" and name in rows[0]:
                self._columns[name] = np.array([row[name] for row in rows], dtype=object)

    def __getitem__(self, name: str) -> "NDArray[Any]":
        try:
            return self._columns[name]
        except KeyError:
            raise KeyError(f"{name!r}: the predictions have {', '.join(self._columns)}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __repr__(self) -> str:
        return f"<Predictions {self.id}: {self.num_rows} rows of {', '.join(self._columns)}>"

    @property
    def id(self) -> str:
        """The id."""
        return str(self.data["id"])

    @property
    def num_rows(self) -> int:
        """The number of rows."""
        return len(self.data["data"] or [])

    @property
    def classes(self) -> list[str] | None:
        """The names of the classes, in the order of the probabilities; None for values."""
        found: list[str] | None = self.data["classes"]
        return found

    @property
    def metrics(self) -> dict[str, Any] | None:
        """The figures of rows of which it is known what they are; None without any."""
        found: dict[str, Any] | None = numbers(self.data["metrics"])
        return found

    @property
    def unseen(self) -> dict[str, list[str]]:
        """Values, by column, that the training data did not have."""
        return dict(self.data["unseen"])

    def records(self) -> list[dict[str, Any]]:
        """Return a dict for each row, as the service gives them."""
        found: list[dict[str, Any]] = numbers(self.data["data"] or [])
        return found

    def columns(self) -> "dict[str, NDArray[Any]]":
        """Return a column for each number of a row: `class`, `probability_setosa`, …"""
        found: dict[str, NDArray[Any]] = {}
        names = self.data["target_names"]
        for name, values in self._columns.items():
            if values.ndim == 1:
                found[name] = values
                continue
            if name == "probabilities":
                of = self.classes or names
                prefix = "probability"
            else:
                of, prefix = names, name
            of = of if len(of) == values.shape[1] else range(1, values.shape[1] + 1)
            found |= {f"{prefix}_{each}": values[:, i] for i, each in enumerate(of)}
        return found

    def to_csv(self) -> str:
        """Return a line of names, then a line for each row, as the service writes them: a text that
        a spreadsheet would run has an apostrophe in front."""
        buffer = io.StringIO(newline="")
        writer = csv.writer(buffer)
        columns = self.columns()
        writer.writerow(map(_harmless, columns))
        cells = (map(_harmless, column.tolist()) for column in columns.values())
        writer.writerows(zip(*cells, strict=True))
        return buffer.getvalue()

    def to_pandas(self) -> "pd.DataFrame":
        """Return a frame of pandas (`thalweg[pandas]`) with the columns of `columns`, and with the
        index of the rows where those came in one."""
        try:
            import pandas as pd
        except ImportError as error:
            raise missing("pandas") from error
        return pd.DataFrame(self.columns(), index=getattr(self._asked, "index", None))

    def to_polars(self) -> "pl.DataFrame":
        """Return a frame of Polars (`thalweg[polars]`) with the columns of `columns`."""
        try:
            import polars as pl
        except ImportError as error:
            raise missing("polars") from error
        return pl.DataFrame(self.columns())

    @property
    def frame(self) -> Any:
        """A frame of the library that the rows came in: pandas, or Polars; of other rows,
        pandas."""
        return self.to_polars() if hasattr(self._asked, "write_parquet") else self.to_pandas()


def _harmless(cell: Any) -> Any:
    """Return a text that a spreadsheet does not run; anything else as it is."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_RUN) else cell


def is_frame(rows: Any) -> bool:
    """Tell whether rows are a frame of pandas or Polars."""
    return hasattr(rows, "write_parquet") or hasattr(rows, "to_parquet")


def request_of(
    rows: Any, checkpoint: str | int, targets: Any, windows: Windows | None
) -> dict[str, Any]:
    """Return the body of a request, without its rows where they are uploaded first."""
    body: dict[str, Any] = {"checkpoint": checkpoint}
    if windows is not None:
        body["windows"] = windows
    if targets is not None:
        body["targets"] = targets.tolist() if hasattr(targets, "tolist") else list(targets)
    if isinstance(rows, DatasetRecord):
        body["dataset"] = rows.id
    elif isinstance(rows, str) and rows.startswith(DATA_PREFIX):
        body["dataset"] = rows
    elif (features := features_of(rows)) is not None:
        body["features"] = features
    return body


def refuse_ways_to_read(schema: Any, media_type: str | None) -> None:
    """Raise `UnsendableError` where it is said how a file is read, and none is uploaded."""
    if schema is not None or media_type is not None:
        raise UnsendableError(
            "schema and media_type say how a file is read, and these rows are not uploaded: leave"
            " them out"
        )


def features_of(rows: Any) -> list[Any] | None:
    """Return rows as the request has them; None for what is uploaded first.

    Raises `UnsendableError` for what are no rows.
    """
    if is_frame(rows):
        if rows.shape[0] * rows.shape[1] > MOST_CELLS:
            return None
        named = rows.to_dicts() if hasattr(rows, "to_dicts") else rows.to_dict("records")
        return [{str(name): _plain(cell) for name, cell in row.items()} for row in named]
    if isinstance(rows, (list, tuple)):
        return [_plain(row) for row in rows]
    if hasattr(rows, "tolist") and hasattr(rows, "ndim"):
        if rows.ndim < 2 and not (rows.ndim and all(isinstance(each, str) for each in rows)):
            shape = tuple(rows.shape)
            raise UnsendableError(
                f"An array of rows has two axes or more, and this one has the shape {shape}: write"
                " rows[None] for a single row"
            )
        found: list[Any] = _plain(rows.tolist())
        return found
    return None


def upload_of(rows: Any, media_type: str | None) -> tuple[Any, str | None]:
    """Return what is uploaded to be predicted, and its media type: of the path of an image a zip
    with that image alone, in a folder that bears the name of no class."""
    if media_type is None and isinstance(rows, (str, os.PathLike)):
        path = Path(rows)
        if path.suffix.lower() in IMAGE_ENDINGS:
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w") as file:
                file.write(path, f"unsorted/{path.name}")
            return packed.getvalue(), MEDIA_TYPES[".zip"]
    return rows, media_type


def _plain(cell: Any) -> Any:
    """Return a cell as JSON has it: None for a missing one."""
    if isinstance(cell, dict):
        return {str(name): _plain(each) for name, each in cell.items()}
    if isinstance(cell, (list, tuple)):
        return [_plain(each) for each in cell]
    if cell is None or isinstance(cell, (str, bool, int)):
        return cell
    if isinstance(cell, float):
        return None if math.isnan(cell) else cell
    if isinstance(cell, date):
        text = cell.isoformat()
        return None if text == "NaT" else text
    if hasattr(cell, "tolist"):  # an array or a scalar of NumPy
        return _plain(cell.tolist())
    if type(cell).__name__ in {"NAType", "NaTType"}:  # pandas' words for a missing value
        return None
    return cell
