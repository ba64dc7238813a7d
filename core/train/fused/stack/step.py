"""Moving the parameters of all runs: clipping, and the update in pieces that fit a core's cache."""

from collections.abc import Sequence
from itertools import product
from typing import Any, Final, assert_never

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.specs.job import ClipAdaptive, ClipNorm, ClipPerParameter, ClipValue, JobSpec
from core.specs.optimizers.kinds import hidden_matrices
from core.specs.sizes.shapes import tables_of
from core.train.fused.stack.hyperparameters import Hyperparameters, options_of
from core.train.optim.rules.base import Memory, Options, Rule, bounded, largest
from core.train.optim.torch_rules.build import rule_of
from core.train.tensors.packing import LINE_BYTES, Packing

PIECE: Final = 2**17
"""Numbers that a thread updates together, about: what an update reads of them stays in the second
cache, and what its operations take to start is little beside it. Four runs of MLP 3 x 512 took 8 %
longer in pieces of twice the length, 32 small ones as much in pieces of half of it."""


class Clipping:
    """Each run's gradients, clipped by its own threshold (core.train.optim.gradients.clipping)."""

    def __init__(self, specs: Sequence[JobSpec], like: Tensor) -> None:
        """Take specs that all clip in the same way, with thresholds of their own."""
        self._norm_type: float | None = None
        self._limit: Tensor | None = None
        clips = [spec.gradient_clip for spec in specs]
        match clips[0]:
            case None:
                return
            case ClipNorm(norm_type=norm_type):
                self._norm_type = norm_type
                limits = [clip.max_norm for clip in clips if isinstance(clip, ClipNorm)]
            case ClipValue():
                limits = [clip.clip_value for clip in clips if isinstance(clip, ClipValue)]
            case ClipPerParameter() | ClipAdaptive():
                raise ValueError("runs that clip by parameter or unit train alone")
            case _:
                assert_never(clips[0])
        self._limit = torch.tensor(limits, dtype=like.dtype, device=like.device).view(-1, 1)

    def __call__(self, gradient: Tensor, norms: Tensor) -> Tensor:
        """Clip `gradient`: (slots, n); `norms`: its 2-norms, (slots,)."""
        if self._limit is None:
            return gradient
        limit = self._limit
        if self._norm_type is None:
            return torch.maximum(torch.minimum(gradient, limit), -limit)
        if self._norm_type != 2.0:
            norms = torch.linalg.vector_norm(gradient, self._norm_type, dim=1)
        return gradient * (limit / (norms.view(-1, 1) + 1e-6)).clamp(max=1.0)

    def compact(self, index: Tensor) -> None:
        if self._limit is not None:
            self._limit = self._limit.index_select(0, index)


class OptimizerStep:
    """The optimizer of a stack.

    Most methods move all parameters of a run as one row; some (Muon), each by itself.

    Attributes:
        hyper: the numbers of this step, of all runs that the stack began with.
    """

    def __init__(
        self,
        specs: Sequence[JobSpec],
        rows: Tensor,
        packing: Packing,
        numbers: NDArray[np.int64] | None = None,
    ) -> None:
        """Take the parameters: `rows` are the parameters, a slot each, and lie as `packing` says.
        `numbers`: which of the specs the slots are of; left out, they are of all, in order. The
        others count in what is the same in all runs."""
        rule = rule_of(specs[0].optimizer)
        assert rule is not None, "only optimizers with a rule are fused"
        self._rule: Rule = rule
        self.hyper = Hyperparameters(specs)
        self._options: Options = options_of(specs)
        self._memory: Memory = rule.memory(len(specs))
        self._runs = np.arange(len(specs)) if numbers is None else numbers
        self._updates = 0
        self._maximize = self._options.switches.get("maximize", False)
        self._clip = Clipping([specs[run] for run in self._runs], rows)
        self._device = rows.device
        self._largest = largest(rows.dtype)
        self._numpy_dtype = torch.empty(0, dtype=rows.dtype).numpy().dtype
        self._rates: NDArray[np.float64] | None = None
        """Each slot's rate, as long as it stays."""
        self._parts = packing.spans
        self._moved = list(packing.spans) if rule.unit == "parameter" else [slice(0, packing.width)]
        """Columns of the rows that are updated together."""
        columns = {
            name: self._tensor(column if len(column) == 1 else column[self._runs], rows)
            for name, column in self.hyper.columns.items()
        }
        by_parameter = rule.unit == "parameter"
        tables = tables_of(specs[0].problem) if by_parameter else ()
        matrices = hidden_matrices(packing.shapes, tables) if by_parameter else [None]
        self._states = [
            rule.init(rows[:, moved], columns, self._options._replace(matrix=matrix))
            for moved, matrix in zip(self._moved, matrices, strict=True)
        ]
        self._piece = len(specs) * PIECE if rows.is_cuda else PIECE
        self._line = LINE_BYTES // rows.element_size()
        """Columns of a piece are a multiple of it: a kernel may compute what is left beyond its
        vectors to other last bits."""

    @property
    def evaluated(self) -> Tensor | None:
        """The rows that evaluations and results are of, a slot each; None: they are the parameters
        themselves."""
        name = self._rule.evaluated
        rows: Tensor | None = None if name is None else getattr(self._states[0], name)
        return rows

    @torch.inference_mode()
    def move(self, rows: Tensor, gradient: Tensor, norms: Tensor) -> None:
        """Make one update of every slot's parameters, in place. What overflows in NumPy makes its
        run diverge, and is no fault of the others': who calls this many times keeps it quiet."""
        self._updates += 1
        gradient = self._clip(gradient, norms)
        if self._maximize:
            gradient = -gradient
        columns, self._memory = self._rule.coefficients(
            self.hyper.columns, self._memory, self._updates, self._options
        )
        scalars = [self._scalar(column, rows) for column in columns]
        if self._rule.unit != "parameter":
            self._update(self._states[0], rows, gradient, scalars, type(columns))
            return
        for state, moved in zip(self._states, self._moved, strict=True):
            self._update(state, rows[:, moved], gradient[:, moved], scalars, type(columns))

    def _update(
        self, state: Any, values: Tensor, gradient: Tensor, scalars: list[Any], kind: Any
    ) -> None:
        slots, width = values.shape
        length, columns = self._block(slots, width)
        if (length, columns) == (slots, width):
            self._apply(gradient, state, values, kind._make(scalars))
            return
        for first, left in product(range(0, slots, length), range(0, width, columns)):
            some = slice(first, first + length)
            block = (some, slice(left, left + columns)) if columns < width else (some,)
            these = kind._make(s if isinstance(s, float) else s[some] for s in scalars)
            part, own = values[block], _at(state, block)
            self._apply(gradient[block], own, part, these)

    def _apply(self, gradient: Tensor, state: Any, params: Tensor, c: Any) -> None:
        if self._rule.move is not None:
            self._rule.move(gradient, state, params, c)
        else:
            params.add_(self._rule.update(gradient, state, params, c))

    def _block(self, slots: int, width: int) -> tuple[int, int]:
        """Return how many slots, and columns, are updated together."""
        if self._rule.unit == "parameter":
            return slots, width
        piece = self._piece * torch.get_num_threads()
        length = -(-slots // min(slots, max(1, round(slots * width / piece))))
        if length > 1 or self._rule.unit == "run":
            return length, width
        lines = -(-width // self._line)
        return length, -(-lines // max(1, round(width / piece))) * self._line

    def next_step(self, losses: NDArray[np.float64]) -> None:
        """Move the schedules on; `losses` of the row before the update, a slot each."""
        if self.hyper.step(losses, self._runs):
            self._rates = None

    @property
    def rates(self) -> NDArray[np.float64]:
        """Each slot's rate of the next update."""
        if self._rates is None:
            self._rates = self.hyper.rates[self._runs]
        return self._rates

    def compact(self, kept: NDArray[np.int64]) -> None:
        self._runs, self._rates = self._runs[kept], None
        index = torch.from_numpy(kept).to(self._device)
        self._clip.compact(index)
        self._states = [_at(state, index) for state in self._states]

    def state(self) -> dict[str, Any]:
        return {
            "updates": self._updates,
            "memory": self._memory,
            "runs": self._runs,
            "states": [tuple(state) for state in self._of_parameters()],
            "hyper": self.hyper.state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self._updates, self._memory, self._runs = state["updates"], state["memory"], state["runs"]
        self._rates = None
        for mine, saved in zip(self._of_parameters(), state["states"], strict=True):
            for tensor, column in zip(mine, saved, strict=True):
                if tensor is not None:
                    tensor.copy_(column)
        self.hyper.load_state(state["hyper"], self._updates)

    def pause(self, slots: NDArray[np.int64]) -> dict[str, Any]:
        runs, index = self._runs[slots], torch.from_numpy(slots).to(self._device)
        columns: dict[str, Any] = {
            f"{number}.{name}": state.index_select(0, index)
            for number, states in enumerate(self._of_parameters())
            for name, state in states._asdict().items()
            if state is not None
        }
        columns |= {f"memory.{name}": column[runs] for name, column in self._memory.items()}
        updates = np.full(len(slots), self._updates)
        return {**columns, "updates": updates, "schedules": self.hyper.pause(runs)}

    def resume(self, columns: dict[str, Any]) -> None:
        """Resume from columns. A state that was not kept where a run comes from is 0: it was
        without effect there."""
        self._updates, self._rates = int(columns["updates"][0]), None
        for name, column in self._memory.items():
            column[self._runs] = columns[f"memory.{name}"]
        for number, states in enumerate(self._of_parameters()):
            for name, state in states._asdict().items():
                if state is not None:
                    found = columns.get(f"{number}.{name}")
                    state.zero_() if found is None else state.copy_(found)
        schedules = dict(zip(self._runs.tolist(), columns["schedules"], strict=True))
        self.hyper.resume(schedules, self._updates)

    def _of_parameters(self) -> list[Any]:
        """Return each parameter's state, in the storage of what is moved with it."""
        if self._rule.unit != "number":
            return self._states
        (whole,) = self._states
        return [_at(whole, (slice(None), part)) for part in self._parts]

    def _scalar(self, column: NDArray[np.float64], like: Tensor) -> float | Tensor:
        """Return a plain number where it is the same in all runs that the stack began with,
        whichever of them still train; else a column."""
        first = column.item(0)
        same = len(column) == 1 or (
            not self.hyper.follows_losses
            and first == column.item(-1)
            and bool((column == first).all())
        )
        if same:
            return bounded(first, self._largest)  # a column may overflow
        return self._tensor(column[self._runs], like)

    def _tensor(self, column: NDArray[np.float64], like: Tensor) -> Tensor:
        numbers = column.astype(self._numpy_dtype)  # in a third of the time that torch takes
        return torch.from_numpy(numbers).to(like.device).view(-1, 1)


def _at(state: Any, where: Any) -> Any:
    """Return that part of every tensor that the state keeps."""
    return type(state)._make(None if tensor is None else tensor[where] for tensor in state)
