"""The stop rules over many runs at once: core.train.stopping with a column a rule.

`observe` here and there are held against each other by a test.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from core.jobs import Outcome
from core.specs.direction import sign_of_job
from core.specs.job import JobSpec
from core.train.fused.problems.base import Metrics
from core.train.stopping import (
    TAIL,
    EvaluationTrace,
    Rules,
    Trace,
    evaluation_rules_of,
    observe_evaluation,
    rules_of,
)

Column = NDArray[np.float64]
OUTCOMES: Final[tuple[Outcome | None, ...]] = (None, "diverged", "converged", "stalled")
"""Outcomes by the code that `observe` gives each run."""


_CODES: Final = {None: 0, "converged": 2, "stalled": 3}


class Judges:
    """The rules for evaluations of each slot, and what they need of them; see
    `core.train.stopping.EvaluationTrace`.

    Attributes:
        codes: of `OUTCOMES`, by which each slot ends at the row at hand.
    """

    def __init__(self, specs: Sequence[JobSpec]) -> None:
        self.rules = [evaluation_rules_of(spec) for spec in specs]
        self.signs = np.array([each.sign for each in self.rules])
        self.any_chosen = any(each.chosen for each in self.rules)
        self.codes = np.zeros(len(specs), dtype=np.int8)
        self._traces = [EvaluationTrace.under(each) for each in self.rules]

    def levels(self, metrics: Metrics) -> Column:
        """Return of each slot the number by which its evaluations are told apart."""
        if not self.any_chosen:
            return metrics["loss"]
        return np.array([metrics[each.metric][slot] for slot, each in enumerate(self.rules)])

    def observe(self, step: int, levels: Column) -> None:
        """Take in every slot's evaluation after `step` updates."""
        if not self.any_chosen:
            return
        for trace, level, rules in zip(self._traces, levels.tolist(), self.rules, strict=True):
            observe_evaluation(trace, step, level, rules)
        self._tell()

    def _tell(self) -> None:
        self.codes = np.array([_CODES[trace.outcome] for trace in self._traces], dtype=np.int8)

    def compact(self, kept: NDArray[np.int64]) -> None:
        self.rules = [self.rules[slot] for slot in kept]
        self._traces = [self._traces[slot] for slot in kept]
        self.signs, self.codes = self.signs[kept], self.codes[kept]

    def state(self) -> dict[str, Any]:
        return self.pause(np.arange(len(self.rules)))

    def load_state(self, state: dict[str, Any]) -> None:
        self.resume(state)

    def pause(self, slots: NDArray[np.int64]) -> dict[str, Any]:
        traces = [self._traces[slot] for slot in slots]
        return {
            "reference": np.array([trace.reference for trace in traces]),
            "step": np.array([trace.step for trace in traces]),
            "waited": np.array([trace.waited for trace in traces]),
            "code": np.array([_CODES[trace.outcome] for trace in traces]),
        }

    def resume(self, columns: dict[str, Any]) -> None:
        """Go on with what `pause` gave; nothing of an older version, which had no such rules."""
        if not columns:
            return
        names = ("reference", "step", "waited", "code")
        rows = zip(*(columns[name].tolist() for name in names), strict=True)
        self._traces = [
            EvaluationTrace(reference, step, waited, OUTCOMES[code])
            for reference, step, waited, code in rows
        ]
        self._tell()


class Traces:
    """The traces that the rules need of each slot's losses so far; see
    `core.train.stopping.Trace`."""

    _COLUMNS: Final = {
        "first": "first", "lowest": "best", "last": "last",
        "reference": "reference", "waited": "waited",
    }  # fmt: skip
    """Column by its name in what is stored."""

    def __init__(self, specs: Sequence[JobSpec]) -> None:
        runs = len(specs)
        rules = [rules_of(spec.stop, sign_of_job(spec)) for spec in specs]
        self._rules = Rules(*(np.array(each, dtype=float) for each in zip(*rules, strict=True)))  # type: ignore[arg-type]
        never = Rules()
        self._tests = any(
            each._replace(patience=never.patience, min_delta=never.min_delta, sign=1.0) != never
            for each in rules
        )
        self._falls = all(each.sign == 1.0 for each in rules)
        """True where all losses are to fall: their sign changes nothing then."""
        self._waits = bool(np.isfinite(self._rules.patience).any())
        self.initial = np.full(runs, np.nan)
        """Losses of the initial weights; NaN where they are row 0's."""
        self.first = np.full(runs, np.nan)
        self.last = np.full(runs, np.nan)
        self.best = self._rules.sign * np.full(runs, np.inf)
        self.reference = self.best.copy()
        self.waited = np.zeros(runs)
        self.tail = np.full((TAIL, runs), np.nan)
        self.num_rows = 0

    def begin(self, initial_losses: Column | None) -> None:
        """Note the initial weights' losses (`StackedProblem.initial_losses`)."""
        if initial_losses is not None:
            finite = np.isfinite(initial_losses)
            self.initial = np.where(finite, initial_losses, np.nan)
            self.first = np.where(finite, initial_losses, self.first)

    def observe(self, losses: Column, norms: Column) -> NDArray[np.int8]:
        """Take in one row of every slot; a code of `OUTCOMES` for each."""
        if self.num_rows == 0:
            self.first = np.where(np.isnan(self.first), losses, self.first)
        self.last = losses
        self.tail[self.num_rows % TAIL] = losses
        self.num_rows += 1
        rules = self._rules
        finite = np.isfinite(losses)
        levels = losses if self._falls else rules.sign * losses
        better = finite & (levels < (self.best if self._falls else rules.sign * self.best))
        self.best = np.where(better, losses, self.best)
        codes = np.zeros(len(losses), dtype=np.int8)
        if self._waits:
            fell = levels < rules.sign * self.reference - rules.min_delta
            self.reference = np.where(fell, losses, self.reference)
            self.waited = np.where(fell, 0.0, self.waited + 1.0)
            codes[self.waited >= rules.patience] = 3
        if self._tests:
            codes[(levels <= rules.target_loss) | (norms <= rules.gradient_norm)] = 2
            codes[levels > rules.max_loss] = 1
        codes[~finite] = 1
        return codes

    def sign(self, slot: int) -> float:
        """Return the sign of the slot's losses (`core.specs.direction`)."""
        return float(self._rules.sign[slot])  # type: ignore[index]

    def one(self, slot: int) -> Trace:
        """Return the slot's trace as the single run's rules know it."""
        rows = range(max(0, self.num_rows - TAIL), self.num_rows)
        trace = Trace(
            first=float(self.first[slot]),
            best=float(self.best[slot]),
            last=float(self.last[slot]),
            reference=float(self.reference[slot]),
            waited=int(self.waited[slot]),
        )
        tail = self.tail[:, slot].tolist()
        trace.tail.extend(tail[row % TAIL] for row in rows)
        return trace

    def compact(self, kept: NDArray[np.int64]) -> None:
        for name in ("initial", *self._COLUMNS.values()):
            setattr(self, name, getattr(self, name)[kept])
        self.tail = self.tail[:, kept]
        self._rules = Rules(*(np.asarray(rule)[kept] for rule in self._rules))  # type: ignore[arg-type]

    def state(self) -> dict[str, Any]:
        columns = {name: getattr(self, column) for name, column in self._COLUMNS.items()}
        return {
            **columns, "initial": self.initial, "tail": self.tail, "num_rows": self.num_rows
        }  # fmt: skip

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken, by whichever version: see `Trace.from_state`."""
        none = np.asarray(self._rules.sign) * np.inf
        for name, column in self._COLUMNS.items():
            value = state[name]
            bounded = column in ("best", "reference")
            setattr(self, column, np.where(np.isinf(value), none, value) if bounded else value)
        self.tail, self.num_rows = state["tail"], state["num_rows"]
        initial = state.get("initial", np.nan)
        self.begin(np.where(np.isnan(initial), self.initial, initial))

    def pause(self, slots: NDArray[np.int64]) -> dict[str, Any]:
        columns = {name: getattr(self, column)[slots] for name, column in self._COLUMNS.items()}
        num_rows = np.full(len(slots), self.num_rows)
        columns["initial"] = self.initial[slots]
        return {**columns, "tail": self.tail[:, slots].T, "num_rows": num_rows}

    def resume(self, columns: dict[str, Any]) -> None:
        shared = {"tail": columns["tail"].T, "num_rows": int(columns["num_rows"][0])}
        self.load_state({**columns, **shared})
