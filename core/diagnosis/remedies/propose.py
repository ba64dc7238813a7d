"""Choice of the remedies for a verdict: patches in the order in which they should be tried."""

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from typing import Final

import numpy as np

from core.diagnosis.evidence.evidence import Evidence
from core.diagnosis.evidence.theory import FINDS_LENGTHS
from core.diagnosis.finding import Findings
from core.diagnosis.remedies.attempt import Attempts
from core.diagnosis.remedies.causes import (
    calm,
    defined_again,
    learn_something,
    loosen,
    standardize,
    unequal_units,
)
from core.diagnosis.remedies.model import (
    add_dropout,
    better_start,
    keep_the_gradient,
    keep_the_past,
    normalize_layers,
    other_weights,
)
from core.diagnosis.remedies.patches import Remedy, another_optimizer, rounded, scaled_rate
from core.diagnosis.remedies.start_point import escape_a_local_minimum, leave_a_saddle
from core.diagnosis.remedies.step_size import (
    authors_rate,
    cautious_rate,
    clip,
    exact_rate,
    falling_rate,
    faster_on_a_quadratic,
    known,
    lower_rate,
    raise_rate,
    search_along_the_line,
    short_steps,
    size_of_start,
    steps_follow_gradients,
)
from core.diagnosis.rules.progress import conditioning
from core.diagnosis.rules.stability import asymptotic_speed, exact_form
from core.diagnosis.verdict import Verdict
from core.specs.job import DataProblem
from core.specs.optimizers.kinds import LBFGS, SGD, Rprop, settled_lr
from core.specs.sizes.shapes import problem_rows

MOST: Final = 4


def propose(verdict: Verdict, findings: Findings, e: Evidence, attempts: Attempts) -> list[Remedy]:
    """Propose the remedies for a verdict, the most promising first: none where nothing is wrong,
    and none whose `attempts` fail."""
    if e.rows == 0 and verdict.name != "diverging":
        return []
    lowered = partial(_first_that_works, e, attempts)
    match verdict.name:
        case "diverging":
            found = _for_divergence(findings, e, lowered)
        case "oscillating":
            found = _for_oscillation(findings, e, lowered)
        case "saddle_point":
            found = chain(unequal_units(findings, e), leave_a_saddle(e), other_weights(e))
        case "local_minimum":
            better = chain(keep_the_past(findings, e), learn_something(findings, e, lowered))
            found = chain(better, escape_a_local_minimum(e), other_weights(e))
        case "plateau" | "too_slow" if verdict.rules == ("equal_units",):
            found = unequal_units(findings, e)  # nothing else tells equal units apart
        case "plateau":
            found = chain(keep_the_past(findings, e), _for_plateau(findings, e, lowered))
        case "too_slow":
            found = _for_slowness(findings, e)
        case "overfitting":
            found = _for_overfitting(e)
        case "noise_limited":
            found = chain(keep_the_past(findings, e), _for_noise(findings, e))
        case "converged" | "healthy" | "undetermined":
            return []
    return _tried(attempts, chain(found, unequal_units(findings, e)))


def _tried(attempts: Attempts, remedies: Iterable[Remedy]) -> list[Remedy]:
    """Return the first of those whose patch is new and whose first steps are finite, move, and do
    not make it clearly worse, where that is known."""
    new: list[Remedy] = []
    for remedy in remedies:
        if all(remedy.patch != other.patch for other in new):
            new.append(remedy)
    attempts.try_all(remedy.patch for remedy in new)
    return [remedy for remedy in new if attempts.works(remedy.patch) is not False][:MOST]


Lowered = Callable[[Remedy], Remedy]
"""Function that takes a remedy of a lower rate, and returns the one that works."""


def _for_divergence(findings: Findings, e: Evidence, lowered: Lowered) -> Iterator[Remedy]:
    if findings["no_minimum"].triggered:
        return
    if e.broken is not None:
        cured = list(defined_again(e))
        yield from cured
        if cured:
            return  # neither a smaller rate nor clipping makes the step defined
    exact, searched = exact_rate(e), search_along_the_line(e)
    if findings["held_by_decay"].triggered:
        yield from loosen(findings, e)
    yield from standardize(e)
    if searched is not None:
        yield searched
    if findings["exploding_start"].triggered:
        yield from better_start(e)
    if exact is not None:
        yield exact
    else:
        yield lowered(authors_rate(e) or short_steps(e) or lower_rate(e, _after_a_blow_up(e)))
    if e.spec.gradient_clip is None and exact is None and steps_follow_gradients(e):
        clipped = clip(e)
        if clipped is not None:
            yield clipped


def _after_a_blow_up(e: Evidence) -> float:
    """Return the share of the rate after which a run should not blow up: a tenth, and of steps as
    long as the rate the root of what the loss grew by, which grows with the square of the weights
    (two layers of them, or a square)."""
    if e.pace != "stride" or e.rows == 0 or not 0.0 < e.level.start < e.level.end < math.inf:
        return 0.1
    return rounded(max(1e-3, min(0.1, math.sqrt(e.level.start / e.level.end))), 2)


def _first_that_works(e: Evidence, attempts: Attempts, lower: Remedy) -> Remedy:
    """Propose the lower rate, or a tenth, a hundredth, … of it, whichever is tried with success
    first."""
    if attempts.works(lower.patch) is not False:
        return lower
    now = float(lower.patch["optimizer"]["lr"]) / settled_lr(e.spec.optimizer)
    for first in range(1, _DECADES, _AT_ONCE):
        lower_still = [_tenths(e, now, tenths) for tenths in range(first, first + _AT_ONCE)]
        attempts.try_all(remedy.patch for remedy in lower_still)
        for remedy in lower_still:
            if attempts.works(remedy.patch) is not False:
                return remedy
    return lower


_DECADES: Final = 12
_AT_ONCE: Final = 4


def _tenths(e: Evidence, factor: float, times: int) -> Remedy:
    factor = rounded(factor * 0.1**times)
    reason = f"The rate is far too large; {factor:g} of it takes first steps that are finite."
    return Remedy(scaled_rate(e.spec, factor), reason, {"lr_factor": factor})


def _damping(findings: Findings) -> float:
    """Return the share of the rate that damps the steps: half of it, and less where the batches
    threw the loss up to many times its start, which a rate far too large does."""
    bouncing = findings["bouncing"]
    if not bouncing.triggered:
        return 0.5
    thrown = bouncing.reading.evidence["worst_over_start"]
    return rounded(min(0.5, max(0.01, 2.0 / thrown)), 2) if thrown > 0 else 0.5


def _for_oscillation(findings: Findings, e: Evidence, lowered: Lowered) -> Iterator[Remedy]:
    calmer: list[Remedy] = []
    if findings["ringing"].triggered and not findings["gradients_oppose"].triggered:
        calmer = list(calm(e))
        yield from calmer
        if calmer and exact_form(e) is not None:
            return  # at this momentum every rate swings as long
    exact = exact_rate(e)
    if exact is not None:
        yield exact
    elif not calmer:
        yield lowered(authors_rate(e) or short_steps(e) or lower_rate(e, _damping(findings)))
    why = "A rate that falls to zero lets the swings die out, whatever their cause."
    falling = falling_rate(e, why, {"final_lr": 0.0})
    if exact is None and falling is not None:
        yield falling


def _for_plateau(findings: Findings, e: Evidence, lowered: Lowered) -> Iterator[Remedy]:
    yield from loosen(findings, e)
    yield from learn_something(findings, e, lowered)
    yield from unequal_units(findings, e)
    if e.convex and findings["constant_guess"].triggered and e.level.fall >= 0.2:
        return  # it fell to what a line can tell of these labels: other steps find no more
    thrown = e.level.thrown
    if findings["gradient_spikes"].triggered or thrown:
        # Adaptive steps are about η long: rates beyond 0.003 are seldom right for a model, nor are
        # steps of a function beyond a twentieth of the point's own size.
        factor = 0.1
        if e.method.family == "adaptive":
            longest = 0.003 if e.x is None else 0.05 * size_of_start(e)
            factor = min(0.1, longest / settled_lr(e.spec.optimizer))
        shorter = Remedy(
            scaled_rate(e.spec, factor),
            "The loss was thrown onto the plateau by steps that were too long.",
            {"lr_factor": factor, "final_loss_below": e.level.end},
        )
        yield lowered(shorter)
        clipped = clip(e)
        if e.spec.gradient_clip is None and clipped is not None:
            yield clipped
    problem = e.spec.problem
    if not isinstance(problem, DataProblem):
        if e.method.family != "adaptive" and e.x is not None:
            scale = max(1.0, float(np.abs(e.x[[0, e.rows - 1]]).max()))
            lr = rounded(min(1.0, 4.0 * scale / max(1, e.rows)), 2)
            reason = f"Adam's steps are about {lr:g} long however small the gradient is."
            yield Remedy(
                another_optimizer(e.spec, kind="adam", lr=lr), reason, {"distance": lr * e.rows}
            )
        yield raise_rate(e, 10.0)
        return
    if findings["vanishing_gradients"].triggered or findings["saturated_units"].triggered:
        yield from keep_the_gradient(e)
    yield from normalize_layers(e)
    if e.method.family != "adaptive":
        yield Remedy(
            another_optimizer(e.spec, kind="adam", lr=1e-3),
            "Adam's steps do not shrink with the gradient.",
            {"final_loss_below": e.level.end},
        )
    elif not thrown:
        yield raise_rate(e, 10.0)


def _for_slowness(findings: Findings, e: Evidence) -> Iterator[Remedy]:
    yield from loosen(findings, e)
    if findings["constant_guess"].triggered or findings["unscaled_features"].triggered:
        yield from standardize(e)
    yield from unequal_units(findings, e)
    yield from faster_on_a_quadratic(e)
    if asymptotic_speed(e) is not None:
        return
    ratio = findings["rate_far_below_threshold"].reading.evidence.get("ratio")
    if findings["rate_far_below_threshold"].triggered and ratio:
        cautious = cautious_rate(e)
        wanted = cautious / float(e.lr.max()) if cautious else 0.25 / ratio
        yield raise_rate(e, max(1.5, wanted))
    elif isinstance(e.spec.optimizer, FINDS_LENGTHS) and (
        findings["steady_slow_descent"].triggered or findings["straight_path"].triggered
    ):
        yield raise_rate(e, max(10.0, 1.0 / settled_lr(e.spec.optimizer)))
    elif findings["steady_slow_descent"].triggered and e.pace is not None:
        reach = e.reach / max(abs(e.level.start), 1e-300)
        wanted = 30.0 / reach if reach > 0 else 1e5
        yield raise_rate(e, rounded(min(1e5, max(10.0, wanted)), 2))
    elif findings["straight_path"].triggered or findings["steady_slow_descent"].triggered:
        yield raise_rate(e, 10.0)
    found = conditioning(e)
    gain = found.gain if found is not None else math.nan
    if isinstance(e.spec.optimizer, SGD):
        if e.spec.optimizer.momentum == 0:
            yield Remedy(
                {"optimizer": {"momentum": 0.9}},
                "Momentum adds up the small steps along flat directions.",
                {"speed_up": min(10.0, gain) if math.isfinite(gain) else 10.0},
            )
        yield Remedy(
            another_optimizer(e.spec, kind="adam", lr=0.01 if e.land is not None else 1e-3),
            "Adam gives each direction a rate of its own.",
            known({"condition_number": found.condition})
            if found
            else {"final_loss_below": e.level.end},
        )


def _for_overfitting(e: Evidence) -> Iterator[Remedy]:
    seen = e.overfit
    assert seen is not None
    thrown = e.level.thrown and seen.last > seen.first
    if thrown:
        yield Remedy(
            scaled_rate(e.spec, 0.1),
            "Steps that were too long threw the weights to where held-out rows are predicted worse"
            " than by the initial ones.",
            {"lr_factor": 0.1, "eval_loss_below": seen.last},
        )
    # Lowest at the very first evaluation: nothing is learned that carries over; end at the next.
    until = int(max(seen.best_step, e.spec.record.eval_every or 1))
    if until < e.step[-1] and not thrown:
        yield Remedy(
            {"budget": {"max_steps": until}},
            "Ends where the evaluation loss was lowest (`checkpoint=best` holds those weights).",
            {"eval_loss": seen.best},
        )
    yield from add_dropout(e, seen.last)
    decay = getattr(e.spec.optimizer, "weight_decay", None)
    if decay is not None and decay < 1e-2:
        yield Remedy(
            {"optimizer": {"weight_decay": rounded(max(1e-2, 10.0 * decay))}},
            "Weight decay prefers small weights, which vary less between the rows.",
            {"eval_loss_below": seen.last},
        )


def _for_noise(findings: Findings, e: Evidence) -> Iterator[Remedy]:
    excess = findings["noise_limited"].reading.evidence.get("excess", math.nan)
    level = e.level.end * (1.0 - min(excess, 1.0)) if math.isfinite(excess) else math.nan
    expected = known({"level": level}) or {"level_below": e.level.end}
    problem, size = e.spec.problem, e.spec.batch_size
    if isinstance(e.spec.optimizer, LBFGS | Rprop) and isinstance(size, int):
        yield Remedy(
            {"batch_size": "full"},
            f"{e.spec.optimizer.kind} compares the gradients of one step with the next one's: of"
            " other rows they tell it nothing.",
            expected,
        )
    falling = falling_rate(e, "A falling rate averages the noise of the batches out.", expected)
    if falling is not None:
        yield falling
    else:
        yield Remedy(scaled_rate(e.spec, 0.25), "Smaller steps carry less noise.", expected)
    if isinstance(problem, DataProblem) and isinstance(size, int):
        rows = problem_rows(problem).train
        larger = min(rows, 4 * size)
        if larger > size:
            yield Remedy(
                {"batch_size": larger},
                "The noise falls with the square root of the batch.",
                {"noise_factor": (size / larger) ** 0.5},
            )
