"""Looking at each row before its update: at once, or (for a GPU) a block of rows later.

Both watches enter the same rows in the same order. The loop asks them twice a step: after the
loss (a non-finite one ends the run before its gradient) and after the gradient (the stop rules).
"""

import math
from typing import Any, Final, Protocol

import torch
from numpy.typing import NDArray
from torch import Tensor

from core.jobs import Outcome
from core.train.history.metrics import Metrics, Report
from core.train.state import OptimizationState

MAX_RING_BYTES: Final = 256 * 2**20
"""A block watch keeps the weights of a block's rows; it may use this much memory for them."""


class RowCheck(Protocol):
    """The questions that the loop asks of each row.

    Attributes:
        loss: the latest row's loss, where it is on the host already (else NaN).
        outcome: set at the row that ends the run.
    """

    loss: float
    outcome: Outcome | None

    def ends_at_loss(self, step: int, loss: Tensor) -> bool:
        """Tell whether the run ends here, without this row's gradient."""
        ...

    def ends_at_row(self, grad_norm: Tensor, grad_cosine: Tensor | None = None) -> bool:
        """Tell whether the run ends here, without this row's update."""
        ...


class EachRow:
    """Reads each loss as it comes: right on a CPU, where nothing waits for it."""

    def __init__(self, descent: OptimizationState, ledger: Metrics, report: Report) -> None:
        self.loss = math.nan
        self.outcome: Outcome | None = None
        self._descent = descent
        self._ledger = ledger
        self._report = report
        self._step = 0
        self._point = point = descent.problem.point()
        self._on_host = None if point is None or point.is_cuda else point.numpy()
        """The point's own memory, which a row copies."""

    def ends_at_loss(self, step: int, loss: Tensor) -> bool:
        self._step = step
        self.loss = loss.item()
        if math.isfinite(self.loss):
            return False
        return self._enter(math.nan)

    def ends_at_row(self, grad_norm: Tensor, grad_cosine: Tensor | None = None) -> bool:
        return self._enter(*numbers_of(grad_norm, grad_cosine))

    def ends_at_values(
        self, step: int, loss: float, grad_norm: float, grad_cosine: float = math.nan
    ) -> bool:
        """Enter a row whose numbers are known, and tell whether the run ends at it."""
        self._step, self.loss = step, loss
        return self._enter(grad_norm, grad_cosine)

    def enter_unjudged(
        self, step: int, loss: float, grad_norm: float, grad_cosine: float = math.nan
    ) -> None:
        """Enter a row after which the run goes on, whatever its numbers say."""
        self.loss = loss
        x = self._x()
        self._ledger.enter_unjudged(step, loss, self._descent.lr, grad_norm, x, grad_cosine)
        self._report(step)

    def _enter(self, grad_norm: float, grad_cosine: float = math.nan) -> bool:
        descent = self._descent
        self.outcome = outcome = self._ledger.enter(
            self._step,
            self.loss,
            descent.lr,
            grad_norm,
            self._x(),
            descent.row_weights,
            grad_cosine,
        )
        self._report(self._step)
        return outcome is not None

    def _x(self) -> NDArray[Any] | None:
        if self._point is None or self._on_host is not None:
            return self._on_host
        return self._point.cpu().numpy()


def numbers_of(norm: Tensor, cosine: Tensor | None) -> tuple[float, float]:
    """Return both numbers on the host, in one transfer; NaN for a cosine that is not wanted."""
    if cosine is None:
        return norm.item(), math.nan
    if not norm.is_cuda:
        return norm.item(), cosine.item()
    first, second = torch.stack((norm, cosine)).tolist()
    return first, second


class RowBlock:
    """Keeps the rows of a block on the device and reads them together when the block is over.

    No step waits for the device. Where a row ends the run, the updates after it were made in vain:
    the caller goes back to the block's beginning and repeats the steps before that row (whose rows
    are written once more, and not read).

    Args:
        size: most rows of a block.
        keep_weights: whether the weights of each row may be needed (the best is a row's).
    """

    def __init__(
        self,
        descent: OptimizationState,
        ledger: Metrics,
        report: Report,
        size: int,
        *,
        keep_weights: bool,
    ) -> None:
        self.loss = math.nan
        self.outcome: Outcome | None = None
        self._descent = descent
        self._ledger = ledger
        self._report = report
        self._weights = list(descent.weights.values())
        point = descent.problem.point()
        device = self._weights[0].device
        self._head = 2 if descent.turning is None else 3
        width = self._head + (0 if point is None else point.numel())
        state_bytes = sum(w.numel() * w.element_size() for w in self._weights)
        if keep_weights:
            size = self.ring_size(size, state_bytes)
        self.size = size
        self._ring = [
            [torch.empty_like(w) for w in self._weights] for _ in range(size if keep_weights else 0)
        ]
        self._values = torch.empty((size, width), dtype=torch.float64, device=device)
        self._cells = [row[:1] for row in self._values], [row[1:2] for row in self._values]
        self._turns = [row[2:3] for row in self._values]
        self._points = [row[self._head :] for row in self._values] if point is not None else None
        self._host = torch.empty(
            (size, width), dtype=torch.float64, pin_memory=device.type == "cuda"
        )
        self._rates = [math.nan] * size
        self._first_step = 0
        self._row = 0

    @staticmethod
    def ring_size(size: int, state_bytes: int) -> int:
        """Return how many rows' weights may be kept, at most `size`."""
        return max(1, min(size, MAX_RING_BYTES // max(1, state_bytes)))

    def begin(self, step: int) -> None:
        """Begin a block with the row of `step`."""
        self._first_step = step

    def begin_row(self, step: int) -> None:
        """Keep the weights of this row, if they may be needed; before its forward pass."""
        if self._ring:
            weights = self._weights
            if self._descent.evaluated_elsewhere:
                weights = self._descent.result_weights()
            torch._foreach_copy_(self._ring[step - self._first_step], weights)

    def ends_at_loss(self, step: int, loss: Tensor) -> bool:
        self._row = step - self._first_step
        self._cells[0][self._row].copy_(loss.detach().reshape(1))
        return False

    def ends_at_row(self, grad_norm: Tensor, grad_cosine: Tensor | None = None) -> bool:
        row = self._row
        if grad_cosine is not None:
            self._turns[row].copy_(grad_cosine.reshape(1))
        self._cells[1][row].copy_(grad_norm.reshape(1))
        self._rates[row] = self._descent.lr
        if self._points is not None:
            point = self._descent.problem.point()
            assert point is not None
            self._points[row].copy_(point)
        return False

    def settle(self) -> int | None:
        """Wait for the block, enter its rows; the step of the row that ends the run, or None."""
        num_rows = self._row + 1
        self._host.copy_(self._values, non_blocking=True)
        if self._values.is_cuda:
            torch.cuda.current_stream(self._values.device).synchronize()
        host = self._host.numpy()
        for row in range(num_rows):
            loss = float(host[row, 0])
            finite = math.isfinite(loss)
            step = self._first_step + row
            self.outcome = self._ledger.enter(
                step,
                loss,
                self._rates[row],
                float(host[row, 1]) if finite else math.nan,
                None if self._points is None else host[row, self._head :],
                self._ring[row] if self._ring else self._weights,
                float(host[row, 2]) if finite and self._head == 3 else math.nan,
            )
            self._report(step)
            if self.outcome is not None:
                return step
        return None
