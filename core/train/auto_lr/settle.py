"""`"lr": "auto"`: a curvature bound, a range test and a race settle the rate before the first step.

The range test suggests a rate; candidates about it, none of them above the bound, then make the
first steps of the job for real, and the one that gets furthest wins. Everything that is decided
follows from the spec: counts bound it, never the clock, and its random numbers are streams of their
own. So a job that is interrupted on the way settles the same rate in its next attempt, and one that
is posted with the settled rate is the same job to the bit.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from time import perf_counter
from typing import Final, Protocol

import torch

from core.diagnosis.remedies.patches import rounded
from core.specs.base import Json
from core.specs.direction import sign_of_job
from core.specs.job import (
    Budget,
    CheckpointEvery,
    DataProblem,
    FunctionProblem,
    JobSpec,
    Record,
    Stop,
    StopOnDivergence,
)
from core.specs.optimizers.kinds import SOAP, AdEMAMix, Lion, Muon, Optimizer, RAdam, RMSprop
from core.specs.schedules import Constant
from core.specs.sizes.extent import extent_of, steps_of
from core.specs.sizes.shapes import draws_rows
from core.specs.validation.auto_lr import settled
from core.specs.validation.run import STEPS_BY_TIME
from core.train.auto_lr.bound import curvature_bound
from core.train.auto_lr.evidence import Entrant, Findings, Finish, evidence
from core.train.auto_lr.range_test import DTYPES, probe_seed, range_test
from core.train.devices import exact_kernels, pick_device
from core.train.events import Control
from core.train.history.flush import Clock
from core.train.problems.build import build_problem

BELOW_THE_BOUND: Final = 0.9
"""Largest share of the largest stable rate that a candidate may have."""
FACTORS: Final = (0.1, 10**-0.5, 1.0, 10**0.5, 10.0)
"""The first candidates, as multiples of the suggestion."""
WIDER: Final = (10**0.5, 10.0)
"""Next candidates beyond the outermost one, while it wins, as multiples of it."""
MOST_ROUNDS: Final = 4
CLOSER: Final = (10**-0.25, 10**0.25)
"""Last candidates, next to the winner, as multiples of it."""
EVALUATIONS: Final = 10
"""Evaluations of a candidate."""
HORIZON: Final = 0.25
HORIZON_OF_LONG_STEPS: Final = 0.5
HORIZON_OF_NUMBER: Final = 1.0
"""Powers of the race's length over the job's by which the rate falls: for steps that shrink with
the gradient, for those that do not (the best constant rate of normalized steps falls with the root
of their number), and for those whose best constant rate was found to fall with their number itself
(0009)."""
LEAST_HORIZON: Final = 0.5
LEAST_HORIZON_OF_NUMBER: Final = 0.02
"""Lowest factors by which it falls: of what is longer yet, the race has shown too little."""
DIGITS: Final = 3
"""Significant digits of a candidate."""
SHARE: Final = 0.1
LEAST_STEPS: Final = 100
MOST_STEPS: Final = 200
CHEAP: Final = 10_000
"""Coordinates up to which many runs of a function cost little more than one."""
MOST_CHEAP_STEPS: Final = 1_000


class Race(Protocol):
    """`core.train.auto_lr.race.race`: trains specs to their ends. None: asked to stop."""

    def __call__(
        self, specs: Sequence[JobSpec], *, control: Control, device: str
    ) -> Sequence[Finish] | None: ...


class Settled:
    """A spec whose rate is a number, and the record's `resolved`, which says where it came from."""

    def __init__(self, spec: JobSpec, lr: float, found: Json) -> None:
        self.lr = lr
        self.spec = settled(spec, lr)
        self.resolved: Json = {"optimizer.lr": {"value": lr, "evidence": found}}


def settle(
    spec: JobSpec,
    race: Race,
    *,
    control: Control,
    device: str | None = None,
    clock: Clock = perf_counter,
) -> Settled | None:
    """Find the rate of a spec that leaves it to the service: that of the optimizer itself, without
    what is around it. None: asked to stop on the way.

    Args:
        spec: resolved, its rate "auto".
        race: trains the candidates.
        device: where to train; left out, `spec.device` decides.
        clock: seconds, monotonic; for the evidence alone.

    Raises:
        JobFailure: no such device, out of memory, data that does not load.
    """
    began, asked = clock(), spec
    bare = spec.optimizer.model_copy(update={"wrap": (), "groups": ()})
    spec = spec.model_copy(update={"optimizer": bare})
    with exact_kernels():
        where = pick_device(device or spec.device)
        bound = curvature_bound(spec, where, control)
        test = range_test(spec, where, control, bound.limit)
        if test is None or control.stop_requested is not None:
            return None
        default = float(type(spec.optimizer).model_fields["lr"].default)
        top = math.inf if bound.limit is None else BELOW_THE_BOUND * bound.limit
        steps, centre = race_steps(spec), min(test.suggestion or default, top)
        found = Findings(
            bound, test, top, centre, steps,
            whole=_is_whole(spec, steps), by_chance=isinstance(spec.problem, DataProblem),
            horizon=horizon(spec, steps),
        )  # fmt: skip
        if test.moves and not _raced(spec, race, found, control, where):
            return None
    return Settled(asked, found.winner(DIGITS), evidence(found, clock() - began))


def race_steps(spec: JobSpec) -> int:
    """Return how many updates each candidate makes: a tenth of the job's budget, at least 100 and
    at most 200; for a function of no more than 10,000 coordinates, all of it up to 1,000. Never
    more than the budget."""
    size = extent_of(spec)
    budget = steps_of(spec.budget, size)
    if isinstance(spec.problem, FunctionProblem) and size.num_parameters <= CHEAP:
        return min(budget, MOST_CHEAP_STEPS)
    return min(budget, max(LEAST_STEPS, min(MOST_STEPS, round(SHARE * budget))))


def horizon(spec: JobSpec, num_steps: int) -> float:
    """Return the factor on the rate that won a race of `num_steps`, for the whole job.

    At a constant rate batches throw the weights about, the further the higher the rate is, most of
    all with methods whose steps do not shrink with the gradient; a race that is shorter than the
    job prefers rates that are fast early. So the rate falls by a power of how much longer the job
    is (0009 has the powers that were tried), but for where a schedule or no batches still
    the end. RAdam's rate moreover rises by itself: what it is at the end of the race is not yet
    what it comes to.
    """
    steps = steps_of(spec.budget, extent_of(spec))
    factor = rectification(spec.optimizer, num_steps) / rectification(spec.optimizer, steps)
    noisy = draws_rows(spec)
    if noisy and isinstance(spec.schedule, Constant):
        power, least = _fall(spec.optimizer)
        if spec.budget.max_seconds is not None and steps >= STEPS_BY_TIME:
            least = LEAST_HORIZON  # how many there will be is not known
        factor *= max(least, (num_steps / steps) ** power)
    return float(factor)


def _fall(optimizer: Optimizer) -> tuple[float, float]:
    """Return the power by which the rate falls, and the lowest factor."""
    if isinstance(optimizer, Lion | AdEMAMix | SOAP | RMSprop):
        return HORIZON_OF_NUMBER, LEAST_HORIZON_OF_NUMBER
    return (HORIZON_OF_LONG_STEPS if isinstance(optimizer, Muon) else HORIZON), LEAST_HORIZON


def rectification(optimizer: Optimizer, step: int) -> float:
    """Return RAdam's factor on its rate at an update, counted from 1: a warm-up over some
    2/(1 − β₂) of them (Liu et al. 2020, arXiv 1908.03265, algorithm 2). 1 for other methods, and
    before there is one."""
    if not isinstance(optimizer, RAdam) or not 0.0 < optimizer.betas[1] < 1.0:
        return 1.0
    power = optimizer.betas[1] ** step
    most = 2.0 / (1.0 - optimizer.betas[1]) - 1.0
    length = most - 2.0 * step * power / (1.0 - power)
    if length <= 5.0:
        return 1.0
    share = (length - 4.0) * (length - 2.0) * most / ((most - 4.0) * (most - 2.0) * length)
    return math.sqrt(share)


def _raced(
    spec: JobSpec, race: Race, found: Findings, control: Control, device: torch.device
) -> bool:
    """Race candidates until the best has a worse one, or the bound, to either side, and then those
    next to it. False: asked to stop."""

    def enter(wanted: Iterable[float]) -> bool:
        rates = sorted(found.unseen(rounded(min(rate, found.top), DIGITS) for rate in wanted))
        specs = [candidate(spec, rate, found.race_steps, device) for rate in rates]
        finishes = race(specs, control=control, device=str(device)) if specs else ()
        if finishes is None:
            return False
        for rate, finish in zip(rates, finishes, strict=True):
            found.enter(Entrant(rate, finish, _score(spec, finish, whole=found.whole)))
        return True

    fresh = [found.centre * factor for factor in FACTORS]
    for _ in range(MOST_ROUNDS):
        if not enter(fresh):
            return False
        fresh = list(_beyond(found))
        if not fresh:
            break
    return enter(found.best.lr * factor for factor in CLOSER)


def _beyond(found: Findings) -> Iterator[float]:
    """Return further candidates, where the best one is outermost."""
    best = found.best.lr
    if best == found.entrants[0].lr:
        yield from (best / factor for factor in WIDER)
    elif best == found.entrants[-1].lr:
        yield from (best * factor for factor in WIDER)


def _is_whole(spec: JobSpec, num_steps: int) -> bool:
    """Tell whether a candidate is the job itself, from start to end: no batches, all of its
    steps."""
    every = steps_of(spec.budget, extent_of(spec))
    return isinstance(spec.problem, FunctionProblem) and num_steps == every


def _score(spec: JobSpec, finish: Finish, *, whole: bool) -> float:
    """Return what is to be low: the loss of the last rows (of the very last one, where that is the
    job's own) or of the evaluation, whichever is worse: a run that is thrown about may end where a
    few rows of evaluation lose nothing. Infinite for a run that diverged."""
    losses = [finish.final_loss if whole else finish.loss]
    if finish.eval_loss is not None:
        losses.append(finish.eval_loss)
    if not all(map(math.isfinite, losses)) or finish.outcome == "diverged":
        return math.inf
    sign = sign_of_job(spec)
    return max(sign * loss for loss in losses)


def candidate(spec: JobSpec, lr: float, num_steps: int, device: torch.device) -> JobSpec:
    """Return the job at this rate, kept constant, for a short run with the race's own seed: other
    initial weights and batches, but for a function the job's own start.

    A criterion that ends the job early would cut short what is to be compared; only `max_loss`
    stays, above which a run has lost.
    """
    problem = spec.problem
    if isinstance(problem, FunctionProblem):
        # Where the seed draws the start, the race's would draw another.
        start = build_problem(spec, device, DTYPES[spec.precision or "float32"]).solution()
        point = start if isinstance(start, dict) else tuple(start or ())
        problem = problem.model_copy(update={"start": point})
    return settled(spec, lr).model_copy(
        update={
            "problem": problem,
            "schedule": Constant(),
            "budget": Budget(max_steps=num_steps),
            "stop": Stop(max_loss=spec.stop.max_loss),
            "record": Record(every=1, eval_every=max(1, -(-num_steps // EVALUATIONS))),
            "checkpoint": CheckpointEvery(every_steps=None),
            "seed": probe_seed(spec, 1),
            "diagnose": "off",
            "on_divergence": StopOnDivergence(),
            "start_from": None,
            "labels": {},
        }
    )
