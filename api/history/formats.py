"""A history's answer as JSON, CSV, NDJSON or NPZ."""

import io
import math
from collections.abc import Callable, Iterator
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from api.history.selection import Answer
from api.http.encoding import JSON, numbers, to_json, word

Format = Literal["json", "csv", "ndjson", "npz"]


def as_json(answer: Answer) -> bytes:
    """Write the contract's object; `x` is a list of lists."""
    return to_json(
        {
            **answer.whose,
            "kind": answer.kind,
            "series": {name: _numbers(answer, name) for name in answer.columns},
            "total": answer.total,
            "returned": answer.returned,
            "method": answer.method,
            "complete": answer.complete,
            "next_after": answer.next_after,
            "first_nonfinite_step": answer.first_nonfinite_step,
        }
    )


def as_ndjson(answer: Answer) -> bytes:
    """Write one object per line, a line for each row."""
    names = list(answer.columns)
    columns = [_plain(_numbers(answer, name)) for name in names]
    lines = (to_json(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True))
    return b"".join(line + b"\n" for line in lines)


def as_csv(answer: Answer) -> bytes:
    """Write a line of names, then a line for each row. `x` has a column for each coordinate:
    `x[0]`, `x[1]`, …

    Numbers are the shortest text that reads back as the same float64.
    """
    names: list[str] = []
    columns: list[list[str]] = []
    for name, column in _flat(answer):
        names.append(name)
        columns.append(_words(column, "" if answer.kind == "system" else None))
    lines = map(",".join, zip(*columns, strict=True))
    return ("\r\n".join([",".join(names), *lines]) + "\r\n").encode()


def as_npz(answer: Answer) -> bytes:
    """Write NumPy's archive of arrays (no pickles in it): `step` int64, else float64, `x` rows ×
    dim."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **answer.columns)
    return buffer.getvalue()


WRITERS: Final[dict[Format, tuple[str, Callable[[Answer], bytes]]]] = {
    "json": (JSON, as_json),
    "csv": ("text/csv; charset=utf-8; header=present", as_csv),
    "ndjson": ("application/x-ndjson", as_ndjson),
    "npz": ("application/x-npz", as_npz),
}


def _flat(answer: Answer) -> Iterator[tuple[str, NDArray[Any]]]:
    for name, column in answer.columns.items():
        if column.ndim == 1:
            yield name, column
        else:
            for index in range(column.shape[1]):
                yield f"{name}[{index}]", column[:, index]


def _numbers(answer: Answer, name: str) -> Any:
    """Prepare a column for JSON; of samples, what is not known is null."""
    column = answer.columns[name]
    if answer.kind != "system" or bool(np.isfinite(column).all()):
        return numbers(column)
    return [None if math.isnan(value) else value for value in column.tolist()]


def _words(column: NDArray[Any], unknown: str | None) -> list[str]:
    texts = [repr(number) for number in column.tolist()]
    if column.dtype.kind == "f":
        for row in np.flatnonzero(~np.isfinite(column)):
            texts[row] = word(float(column[row])) if unknown is None else unknown
    return texts


def _plain(column: Any) -> list[Any]:
    plain: list[Any] = column.tolist() if isinstance(column, np.ndarray) else column
    return plain
