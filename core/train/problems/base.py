"""Protocol of what the training loop minimizes: supervised problems and functions."""

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from core.specs.base import Json
from core.specs.splits.rows import HeldOut
from core.train.tensors.packing import Packing


# Copying weights into a problem.
def copy_state(into: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    """Copy `state` into the tensors of `into`, in place.

    Raises:
        ValueError: the names or a shape differ; nothing has been copied then.
    """
    if into.keys() != state.keys():
        missing = sorted(into.keys() - state.keys())
        unknown = sorted(state.keys() - into.keys())
        raise ValueError(f"weights do not fit: missing {missing}, unknown {unknown}")
    for name, tensor in into.items():
        if tensor.shape != state[name].shape:
            wanted, got = tuple(tensor.shape), tuple(state[name].shape)
            raise ValueError(f"weights do not fit: {name} has shape {got}, not {wanted}")
    with torch.no_grad():
        for name, tensor in into.items():
            tensor.copy_(state[name])


class WrittenOut(Protocol):
    """The losses and gradients of a problem on a CPU, without automatic differentiation, to its
    bits.

    Attributes:
        row: all parameters, one after another; the problem's are views of it.
        gradient: a row that receives their gradients.
        packing: where in a row each parameter lies.
        complete: whether no part of it is differentiated automatically.
    """

    row: Tensor
    gradient: Tensor
    packing: Packing
    complete: bool

    def loss(self, step: int) -> Tensor:
        """Return what `Problem.loss` returns, detached."""
        ...

    def backward(self) -> None:
        """Write the gradient of the loss that was returned last, once."""
        ...


class Problem(Protocol):
    """A loss over parameters, on one device and in one precision.

    `loss(step)` depends on the parameters, the buffers and `step` alone, so that any step can be
    computed at any time (resume in mid-epoch, LBFGS's repeated closures, a replay).
    """

    @property
    def num_parameters(self) -> int:
        """The number of trainable parameters."""
        ...

    @property
    def steps_per_epoch(self) -> int:
        """Updates that see every training row once (a function: 1)."""
        ...

    @property
    def multiply_adds(self) -> int:
        """Work of one forward pass: parameters x rows of a batch."""
        ...

    def parameters(self) -> list[nn.Parameter]:
        """Return the parameters, always the same objects in the same order."""
        ...

    def loss(self, step: int) -> Tensor:
        """Return the loss of step `step`'s batch in training mode: 0-dim, differentiable."""
        ...

    def written_out(self) -> WrittenOut | None:
        """Return the same losses and their gradients written out, always the same object; None:
        only automatic differentiation has them. The parameters may change their storage."""
        ...

    def initial_loss(self) -> float | None:
        """Return the loss that a run is called diverged by, at the parameters as they are, which
        should be the initial ones (CONTRACT, section 2): the mean in training mode over the first
        training rows. None: where a step's batch is all rows, or of a function, it is row 0's.

        Changes no state, and no draw of a step.
        """
        ...

    def evaluate(self, part: HeldOut = "eval") -> dict[str, float] | None:
        """Return `loss` first, then the metrics that the spec records, on the rows that are held
        out for this part.

        None when there are none (no such rows, or a function). Changes no state.
        """
        ...

    def confusion_matrix(self, part: HeldOut = "eval") -> list[list[int]] | None:
        """Return the evaluation rows by class and by the class that they are taken for, where the
        spec asks for it and every output is finite."""
        ...

    def after_update(self) -> None:
        """Call after each update: clamps a function's point to its bounds."""
        ...

    def point(self) -> Tensor | None:
        """Return a function's current point, detached, shape (dim,); the tensor itself, not a
        copy."""
        ...

    def solution(self) -> dict[str, float] | list[float] | None:
        """Return a function's current point: by name for an expression, else a list. None:
        supervised."""
        ...

    def value(self) -> float | None:
        """Return a function's value at `solution()`; may be non-finite. None: supervised."""
        ...

    def state(self) -> dict[str, Tensor]:
        """Return the parameters and buffers by their stable names, detached, not copied."""
        ...

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Copy `state` into parameters and buffers, in place.

        Raises:
            ValueError: names or shapes differ from `state()`'s.
        """
        ...

    def data(self) -> Json | None:
        """Return what the job's record says of its data: rows, features, classes. None: a
        function."""
        ...

    def examine(self) -> Json | None:
        """Count what may be wrong with the data (`core.train.data.examine`). None: a function."""
        ...

    def metadata(self) -> dict[str, str]:
        """Return the metadata for the safetensors file: `spec`, and for supervised problems
        `class_names`, `feature_names`, `standardization`, of uploads `preprocessing`, each a JSON
        text."""
        ...
