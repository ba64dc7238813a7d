"""State that a run moves: parameters, buffers, the optimizer's state and the schedule."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from core.specs.direction import sign_of_job
from core.specs.job import JobSpec
from core.specs.optimizers.kinds import Muon, Optimizer, ScheduleFree, averages
from core.specs.schedules import ReduceOnPlateau, Schedule, parts_of
from core.specs.sizes.shapes import tables_of
from core.train.optim.build import build_optimizer, plain_step
from core.train.optim.by_rule import ByRule
from core.train.optim.gradients import (
    GradientCosine,
    clipping,
    gradient_norm,
    gradients_of,
    norm_of,
)
from core.train.optim.groups import Groups, names_of
from core.train.optim.in_row import RowOptimizer, moves_in_row, takes_written_out
from core.train.optim.schedules import build_scheduler
from core.train.optim.wrappers import Wrappers
from core.train.problems.base import Problem, WrittenOut
from core.train.tensors.tree import Tree, copy_tree


@dataclass(frozen=True)
class StateCopy:
    """All that the next step depends on, as it was after `k` updates."""

    weights: dict[str, Tensor]
    optimizer: Tree
    schedule: Any
    gradient: Tensor | None = None
    """The direction of the last gradient, where its cosine to the next is recorded: never changed
    in place."""

    def copy(self) -> "StateCopy":
        """Return the same state in tensors of its own."""
        weights, optimizer, schedule = map(copy_tree, (self.weights, self.optimizer, self.schedule))
        return StateCopy(weights, optimizer, schedule, self.gradient)


class OptimizationState:
    """A problem with the optimizer and schedule that its spec asks for.

    Attributes:
        parameters: what is differentiated, in the problem's order.
        weights: parameters and buffers by name, the tensors themselves.
        loss: `loss(step)` is the loss of a step's batch; `backward(loss)` then makes its gradient.
        clip: clips the gradients in place; None: they stay as they are.
        update: `update(step, loss)` moves the parameters once, by the gradients as they are.
        scheduler: None when the rate is constant.
    """

    def __init__(self, spec: JobSpec, problem: Problem) -> None:
        self.problem = problem
        self.parameters = problem.parameters()
        self.loss = problem.loss
        self._by_hand: WrittenOut | None = None
        self._gradients: list[Tensor] = []
        """Parts of the written-out gradient's row."""
        self._tables = tables_of(spec.problem) if isinstance(spec.optimizer, Muon) else ()
        self.optimizer, self._in_row = self._optimizer(spec.optimizer)
        self.weights = problem.state()
        self._groups: Groups | None = None
        self._rated = self.optimizer
        """The optimizer whose rate the schedule moves."""
        if spec.optimizer.groups:
            names = names_of(self.parameters, self.weights)
            self._groups = Groups(spec.optimizer, self.optimizer, names)
            self._rated = self._groups.leader
        self.scheduler = build_scheduler(spec.schedule, self._rated, sign_of_job(spec))
        self.clip = clipping(spec.gradient_clip, self.parameters)
        self.turning = GradientCosine() if spec.record.gradient_cosine else None
        self.lr_scale = 1.0
        """Factor on the schedule's rate; only `update_scaled` heeds it."""
        self.needs_loss = reads_loss(spec.schedule)
        """True where a step needs its loss on the host (a GPU then waits for it each step)."""
        self.update: Callable[[int, Tensor], object]
        self._place = {weight.data_ptr(): n for n, weight in enumerate(self.weights.values())}
        if isinstance(self.optimizer, torch.optim.LBFGS):
            self.needs_loss = True
            self.update = self._lbfgs
        else:
            in_row = self._in_row
            self._move = plain_step(self.optimizer) if in_row is None else in_row.step
            self.update = self._plain
        ours = {parameter.data_ptr() for parameter in self.parameters}
        self._buffers = [w for w in self.weights.values() if w.data_ptr() not in ours]
        self._held = [buffer.clone() for buffer in self._buffers]
        self._holds = False
        held = iter(self._held)
        self._row_weights = [
            w if w.data_ptr() in ours else next(held) for w in self.weights.values()
        ]
        if self._groups is not None:
            self._in_groups(self._groups)
        self._wrappers: Wrappers | None = None
        if spec.optimizer.wrap:
            self._wrap(spec)
        self.evaluated_elsewhere = _evaluates_elsewhere(spec)
        """True where evaluations and results are of other weights than the gradients."""

    def _optimizer(self, spec: Optimizer) -> tuple[torch.optim.Optimizer, RowOptimizer | None]:
        """Build the optimizer, and choose how the gradient is made and whether all parameters are
        moved as one row. Both follow from the spec (and the device), and neither changes a bit."""
        by_hand = self.problem.written_out() if takes_written_out(spec) else None
        if by_hand is None:
            return build_optimizer(spec, self.parameters, self._tables), None
        self.loss, self._by_hand = by_hand.loss, by_hand
        self._gradients = by_hand.packing.of_one(by_hand.gradient)
        self._norm_by_hand = norm_of(self._gradients)
        if not moves_in_row(spec):
            return build_optimizer(spec, self.parameters, self._tables), None
        in_row = RowOptimizer(spec, by_hand.row, by_hand.gradient, by_hand.packing)
        return in_row.optimizer, in_row

    def _in_groups(self, groups: Groups) -> None:
        """Make each update with the groups' own rates, and count it."""
        plain = self.update

        def update(step: int, loss: Tensor) -> None:
            groups.share()
            plain(step, loss)
            if groups.after_update() and self.turning is not None:
                self.turning.forget()  # the next gradient is longer

        self.update = update

    def _wrap(self, spec: JobSpec) -> None:
        """Put the spec's wrappers around the update. With SAM it is the second gradient, by which
        the update is made, that is clipped."""
        weights, sign = list(self.weights.values()), sign_of_job(spec)
        wrappers = Wrappers(spec.optimizer.wrap, self.parameters, weights, self._buffers, sign)
        clip, ascent, plain, problem = self.clip, wrappers.ascent, self.update, self.problem
        if ascent is not None:
            self.clip = None

        def update(step: int, loss: Tensor) -> None:
            if ascent is not None:
                ascent.climb(lambda: problem.loss(step))
                if clip is not None:
                    clip(self.gradient_norm())
            plain(step, loss)
            problem.after_update()  # so that an average stays within bounds
            wrappers.after_update()

        self.update, self._wrappers = update, wrappers

    @property
    def lr(self) -> float:
        """The rate of the next update."""
        return float(self._rated.param_groups[0]["lr"]) * self.lr_scale

    def update_scaled(self, step: int, loss: Tensor) -> None:
        """Make the `update` at `lr_scale` times the schedule's rate, which itself is left alone:
        many schedules compute the next rate from the last."""
        groups = self._rated.param_groups
        rates = [group["lr"] for group in groups]
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate * self.lr_scale
        self.update(step, loss)
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate

    def gradient_norm(self) -> Tensor:
        """Return the joint 2-norm of the gradients, before clipping: 0-dim, on the device."""
        if self._by_hand is not None:
            return self._norm_by_hand()
        return gradient_norm(gradients_of(self.parameters))

    def gradient_cosine(self, norm: Tensor) -> Tensor | None:
        """Return the cosine between this row's gradient, whose norm is given, and the last
        row's: 0-dim, on the device. None where the spec does not ask for it. Once a row, before
        clipping."""
        if self.turning is None:
            return None
        return self.turning.to(gradients_of(self.parameters), norm)

    @property
    def row_weights(self) -> list[Tensor]:
        """The weights that results are of, of the row at hand: between its loss and its update."""
        if not self.evaluated_elsewhere:
            return self._row_weights
        return self._with_evaluated(self._row_weights)

    def result_weights(self) -> list[Tensor]:
        """Return the weights that results are of, between two steps, in the order of `weights`: the
        tensors themselves."""
        return self._with_evaluated(list(self.weights.values()))

    @contextmanager
    def at_result_weights(self) -> Iterator[None]:
        """Have the problem hold the weights that results are of, and then its own again."""
        held = self.go_to_result_weights()
        try:
            yield
        finally:
            with torch.no_grad():
                for weight, own in held:
                    weight.copy_(own)

    def go_to_result_weights(self) -> list[tuple[Tensor, Tensor]]:
        """Have the problem hold the weights that results are of, from where no step is taken.
        Returns what changed, each with a copy of what it was."""
        found = self._evaluated() or []
        held = [(weight, weight.detach().clone()) for weight, _ in found]
        with torch.no_grad():
            for weight, point in found:
                weight.copy_(point)
        return held

    def raw_weights(self) -> dict[str, Tensor] | None:
        """Return copies of the weights that are trained, where a wrapper averages them."""
        if self._wrappers is None or not self._wrappers.averages:
            return None
        return {name: weight.detach().clone() for name, weight in self.weights.items()}

    def _evaluated(self) -> list[tuple[Tensor, Tensor]] | None:
        """Return the weights whose place others take in results, each with that one; None: all are
        their own."""
        if self._wrappers is not None and (found := self._wrappers.evaluated()) is not None:
            return found
        points = self.optimizer.evaluated() if isinstance(self.optimizer, ByRule) else None
        return None if points is None else list(zip(self.parameters, points, strict=True))

    def _with_evaluated(self, weights: list[Tensor]) -> list[Tensor]:
        """Return the list, in the order of `weights`, with what takes their place in results."""
        found = list(weights)
        for weight, point in self._evaluated() or []:
            found[self._place[weight.data_ptr()]] = point
        return found

    def begin_row(self) -> None:
        """Remember what the row may have to give back: `take_row_back`, `put_buffers_back`."""
        self.hold_buffers()
        if self.turning is not None:
            self.turning.hold()
            self._holds = True

    def take_row_back(self) -> None:
        """Take the row back: the run ends at it, and whoever goes on makes it again."""
        self.put_buffers_back()
        if self.turning is not None and self._holds:
            self.turning.put_back()

    def hold_buffers(self) -> None:
        """Remember the buffers: a forward pass changes batch norm's running statistics, and a run
        that ends at this row ends with what they were before."""
        if self._buffers:
            torch._foreach_copy_(self._held, self._buffers)
            self._holds = True

    def put_buffers_back(self) -> None:
        """Make the buffers what they were before the last row's forward pass.

        Only after a row watched one by one: a block's are what they should be
        (`PeriodicWork.blocks`).
        """
        if self._buffers and self._holds:
            torch._foreach_copy_(self._buffers, self._held)

    def clear_gradients(self) -> None:
        """Make room for the next gradient. Written-out ones overwrite the last."""
        if self._by_hand is None:
            for parameter in self.parameters:
                parameter.grad = None
        elif self.parameters[0].grad is not self._gradients[0]:
            for parameter, gradient in zip(self.parameters, self._gradients, strict=True):
                parameter.grad = gradient

    def backward(self, loss: Tensor) -> None:
        """Make the gradient of the loss that `loss` returned last."""
        if self._by_hand is None:
            loss.backward()  # type: ignore[no-untyped-call]
        else:
            self._by_hand.backward()

    @contextmanager
    def below_autograd(self) -> Iterator[None]:
        """Have torch pass by what notes operations for automatic differentiation, where no step
        needs it: a tenth of a small step's time."""
        needed = self._by_hand is None or not self._by_hand.complete or self._in_row is None
        with nullcontext() if needed else torch._C._AutoDispatchBelowAutograd():
            yield

    def moment(self, *, copied: bool = True) -> StateCopy:
        """Return a copy of everything, taken between two steps; not `copied`: the tensors
        themselves, which the next step will change."""
        state = self._of_parameters() if self._in_row is None else self._in_row.state()
        groups = [
            {name: value for name, value in group.items() if name != "params"}
            for group in self.optimizer.param_groups
        ]
        schedule = None if self.scheduler is None else self.scheduler.state_dict()
        gradient = None if self.turning is None else self.turning.last
        optimizer: dict[str, Any] = {"state": state, "groups": groups}
        if self._wrappers is not None:
            optimizer["wrap"] = self._wrappers.state()
        if self._groups is not None:
            optimizer["of_groups"] = self._groups.state()
        moment = StateCopy(dict(self.weights), optimizer, schedule, gradient)
        return moment.copy() if copied else moment

    def _of_parameters(self) -> dict[int, Any]:
        return {
            index: self.optimizer.state[parameter]
            for index, parameter in enumerate(self.parameters)
            if parameter in self.optimizer.state
        }

    def go_back_to(self, moment: StateCopy) -> None:
        """Make everything as it was, to the last bit.

        Raises:
            ValueError: the moment is of another problem.
        """
        self.problem.load_state(moment.weights)
        if self.scheduler is not None:
            self.scheduler.load_state_dict(copy_tree(moment.schedule))
        if self.turning is not None:
            self.turning.last = moment.gradient
        optimizer = copy_tree(moment.optimizer)
        if self._in_row is not None:
            self._in_row.load_state(optimizer["state"])
        else:
            self.optimizer.state.clear()
            for index, state in optimizer["state"].items():
                self.optimizer.state[self.parameters[index]] = state
        for group, saved in zip(self.optimizer.param_groups, optimizer["groups"], strict=True):
            group.update(saved)
        if self._wrappers is not None:
            self._wrappers.load_state(moment.optimizer["wrap"])
        if self._groups is not None:
            self._groups.load_state(moment.optimizer["of_groups"])

    def _plain(self, step: int, loss: Tensor) -> None:
        try:
            self._move()
        except (ArithmeticError, RuntimeError) as error:
            self._overflowed(error)

    def _overflowed(self, error: Exception) -> None:
        """Make an update of infinite length: torch refuses factors that overflow in the precision
        of the parameters instead of making one. No parameter is a number after it, and the next row
        shows that the run has diverged."""
        if not isinstance(error, ArithmeticError) and "without overflow" not in str(error):
            raise error
        with torch.no_grad():
            for parameter in self.parameters:
                parameter.fill_(math.nan)

    def _lbfgs(self, step: int, loss: Tensor) -> None:
        """Make one update with as many evaluations as the line search asks for, all of this step's
        batch; the first is the row's own, which is there already."""
        known = [loss]

        def closure() -> float:
            if known:
                return known.pop().item()
            self.clear_gradients()
            value = self.problem.loss(step)
            value.backward()  # type: ignore[no-untyped-call]
            if self.clip is not None:
                self.clip(self.gradient_norm())
            return value.item()

        step_with: Callable[[Callable[[], float]], object] = self.optimizer.step
        try:
            step_with(closure)
        except (ArithmeticError, RuntimeError) as error:
            self._overflowed(error)


def result_weights(
    spec: JobSpec, build: Callable[[], Problem], moment: StateCopy
) -> dict[str, Tensor]:
    """Return the weights that results are of at a moment, by name; `build` makes the spec's
    problem, where one is needed."""
    if not _evaluates_elsewhere(spec):
        return moment.weights
    descent = OptimizationState(spec, build())
    descent.go_back_to(moment)
    return dict(zip(descent.weights, descent.result_weights(), strict=True))


def _evaluates_elsewhere(spec: JobSpec) -> bool:
    return isinstance(spec.optimizer, ScheduleFree) or averages(spec.optimizer)


def reads_loss(schedule: Schedule) -> bool:
    """Tell whether the schedule depends on the losses."""
    return isinstance(schedule, ReduceOnPlateau) or any(map(reads_loss, parts_of(schedule)))
