"""Rows of a history as arrays."""

import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from thalweg.errors import ThalwegError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import polars as pl
    from numpy.typing import NDArray

AXES: Final = frozenset({"step", "time_s", "epoch"})
"""Series that others are drawn over."""


class History(Mapping[str, "NDArray[np.generic]"]):
    """Series by name, each an array with an entry (`x`: a line) for each row.

    `step` is an array of integers, all others are of floats, and values that are not finite stand
    in them as such.

    Example:
        >>> history = client.jobs.get(job.id).history()
        >>> history["loss"].shape == history["step"].shape
        True

    Attributes:
        of: the id of the job, or of the study and the run (`study_…/3`).
        kind: `train` (one row a recorded step), `eval` or `system`.
    """

    def __init__(self, of: str, kind: str, series: Mapping[str, "NDArray[Any]"]) -> None:
        self.of = of
        self.kind = kind
        self._series = dict(series)

    def __getitem__(self, name: str) -> "NDArray[Any]":
        try:
            return self._series[name]
        except KeyError:
            raise KeyError(f"{name!r}: the history has {', '.join(self._series)}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._series)

    def __len__(self) -> int:
        return len(self._series)

    def __repr__(self) -> str:
        return f"<History of {self.of}: {self.num_rows} rows of {', '.join(self._series)}>"

    @property
    def num_rows(self) -> int:
        """The number of rows."""
        return len(next(iter(self._series.values()))) if self._series else 0

    def columns(self) -> "dict[str, NDArray[Any]]":
        """Return a column for each number of a row: of `x` there are `x[0]`, `x[1]`, …"""
        found: dict[str, NDArray[Any]] = {}
        for name, values in self._series.items():
            if values.ndim == 1:
                found[name] = values
            else:
                found |= {f"{name}[{i}]": values[:, i] for i in range(values.shape[1])}
        return found

    def to_pandas(self) -> "pd.DataFrame":
        """Return a frame of pandas (`thalweg[pandas]`) with the columns of `columns`."""
        try:
            import pandas as pd
        except ImportError as error:
            raise missing("pandas") from error
        return pd.DataFrame(self.columns())

    def to_polars(self) -> "pl.DataFrame":
        """Return a frame of Polars (`thalweg[polars]`) with the columns of `columns`."""
        try:
            import polars as pl
        except ImportError as error:
            raise missing("polars") from error
        return pl.DataFrame(self.columns())

    def to_csv(self, path: str | Path) -> None:
        """Write a line of names, then a line for each row; numbers read back as they were."""
        from thalweg.export import tables

        tables.write_csv(self.columns(), Path(path))

    def to_parquet(self, path: str | Path) -> None:
        """Write a Parquet file (`thalweg[parquet]`)."""
        from thalweg.export import tables

        tables.write_parquet(self.columns(), Path(path))

    def to_tensorboard(self, folder: str | Path) -> Path:
        """Write an event file that TensorBoard shows, into a folder; return the file."""
        from thalweg.export import tensorboard

        return tensorboard.write({self.kind: self}, Path(folder))

    def _repr_html_(self) -> str:
        from thalweg.notebook import history_html

        return history_html(self)


def missing(extra: str) -> ThalwegError:
    """Return the error of a library that is not installed."""
    return ThalwegError(f"{extra} is not installed: pip install 'thalweg[{extra}]'")


def read_npz(content: bytes) -> "dict[str, NDArray[Any]]":
    """Read the arrays of an archive; nothing in it is run."""
    import numpy as np

    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise ThalwegError(f"The history that came cannot be read: {error}") from error


def joined(pages: "Sequence[Mapping[str, NDArray[Any]]]") -> "dict[str, NDArray[Any]]":
    """Join pages of the same series; of series that not all pages have, the rows are left out."""
    import numpy as np

    if len(pages) == 1:
        return dict(pages[0])
    return {name: np.concatenate([page[name] for page in pages]) for name in pages[0]}


def from_json(series: Mapping[str, Sequence[Any]]) -> "dict[str, NDArray[Any]]":
    """Make arrays of a reply's lists, in which numbers that are not finite are words."""
    import numpy as np

    found: dict[str, NDArray[Any]] = {}
    for name, values in series.items():
        kind = np.int64 if name == "step" else np.float64
        found[name] = np.asarray(values, dtype=kind)  # float64 reads "NaN" and "-Infinity"
    return found
