"""JSON as the contract wants it: strict, with non-finite numbers as the three strings."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

JSON: Final = "application/json"
PROBLEM_JSON: Final = "application/problem+json"


def word(number: float) -> str:
    """Name a number that is not finite: `"NaN"`, `"Infinity"` or `"-Infinity"`."""
    if math.isnan(number):
        return "NaN"
    return "Infinity" if number > 0 else "-Infinity"


def strict(value: Any) -> Any:
    """Return `value` with every non-finite float replaced by its word, at any depth.

    orjson would write null for these, which is a lie. The same object comes back where there is
    nothing to replace.
    """
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else word(value)
    if isinstance(value, (dict, Mapping)):
        return {key: strict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, Iterable)):
        return [strict(item) for item in value]
    return value


def numbers(column: NDArray[Any]) -> Any:
    """Prepare a column for `to_json`: itself when all of it is finite, else lists with the
    words."""
    if column.dtype.kind != "f" or bool(np.isfinite(column).all()):
        return np.ascontiguousarray(column)
    return strict(column.tolist())


def to_json(value: Any) -> bytes:
    """Write the bytes of `value`: built-in types and NumPy arrays. Its floats must be finite by
    now."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
