"""Changes of axes, without weights."""

from typing import Annotated, Literal

from pydantic import Field

from core.specs.base import WHOLE, PositiveInt
from core.specs.layers.kinds.base import Dim, NamedLayer


class Flatten(NamedLayer):
    """Axes `start_dim` to `end_dim` become one."""

    kind: Literal["flatten"] = "flatten"
    start_dim: Dim = 1
    end_dim: Dim = -1


class Unflatten(NamedLayer):
    """Axis `dim` becomes several."""

    kind: Literal["unflatten"] = "unflatten"
    dim: Dim = 1
    unflattened_size: Annotated[tuple[PositiveInt, ...], Field(min_length=1, max_length=4)]


class Transpose(NamedLayer):
    """Two axes change places."""

    kind: Literal["transpose"] = "transpose"
    dim0: Dim = 1
    dim1: Dim = 2


class Select(NamedLayer):
    """One place of an axis, which goes: the last time of a sequence, say (`dim` 1, `index` −1)."""

    kind: Literal["select"] = "select"
    dim: Dim = 1
    index: Annotated[int, Field(ge=-(2**31), lt=2**31), WHOLE] = -1


class Mean(NamedLayer):
    """The mean over an axis, which goes."""

    kind: Literal["mean"] = "mean"
    dim: Dim = 1
