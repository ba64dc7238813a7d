"""Remedies for a named cause: an undefined step, a constant guess, a limit, too much momentum."""

import math
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np

from core.diagnosis.evidence.evidence import Evidence
from core.diagnosis.finding import Findings
from core.diagnosis.remedies.patches import Remedy, rounded, scaled_rate
from core.diagnosis.remedies.start_point import beside
from core.diagnosis.remedies.step_size import calmer_on_a_quadratic, known
from core.diagnosis.rules.causes import smallest_eps
from core.diagnosis.rules.stability import swings_of
from core.specs.data import Builtin, Inline, Upload
from core.specs.job import ClipNorm, DataProblem, FunctionProblem, LanguageModel
from core.specs.models import MLP
from core.specs.optimizers.kinds import SGD

_UNEVEN: Final = 10.0
"""Features whose sizes are this far apart, or off 1, make some curvatures 100 times others."""


def defined_again(e: Evidence) -> Iterator[Remedy]:
    """Propose remedies for a run whose gradient or update was not finite at a finite loss."""
    eps = smallest_eps(e.spec)
    if e.broken == "update" and eps is not None and eps[0] < eps[1]:
        yield Remedy(
            {"optimizer": {"eps": 1e-8}},
            "An `eps` above the root of the smallest number keeps 0 from being divided by 0.",
            {"eps_at_least": eps[1]},
        )
    if e.broken != "gradient":
        return
    last, lowest = float(e.loss[-1]), float(e.loss.min())
    lower = beside(e)
    if e.rows > 1 and last <= lowest and lower is None:
        yield Remedy(
            {"stop": {"target_loss": e.sign * last}},
            "The loss is lowest where it has no gradient: a run that ends on it is not spoilt.",
            {"final_loss": last},
        )
    problem = e.spec.problem
    if lower is not None:
        yield lower
    elif e.rows == 1 and isinstance(problem, FunctionProblem) and e.x is not None:
        yield Remedy(
            {"stop": {"target_loss": e.sign * last}},
            "The start is where the loss is lowest, and where it has no gradient.",
            {"final_loss": last},
        )


def standardize(e: Evidence) -> Iterator[Remedy]:
    """Features of zero mean and unit variance, where they are not and their sizes differ."""
    problem = e.spec.problem
    if isinstance(problem, LanguageModel):
        return
    if not isinstance(problem, DataProblem) or problem.data.standardize:
        return
    data = problem.data
    if isinstance(data, Inline):
        features = np.array(data.features, dtype=np.float64).reshape(data.num_rows, -1)
        size = np.sqrt((features**2).mean(axis=0))
        size = size[size > 0]
        if size.size == 0 or (size.max() <= _UNEVEN and size.max() <= _UNEVEN * size.min()):
            return
    elif isinstance(data, Upload):
        spread = (e.data or {}).get("spread")
        if spread is None or spread["ratio"] <= _UNEVEN:
            return
    elif not isinstance(data, Builtin):
        return  # what is generated has about unit size
    yield Remedy(
        {"problem": {"data": {"standardize": True}}},
        "Features of very different sizes give the loss very different curvatures; of zero mean and"
        " unit variance, one rate suits them all.",
        {"final_loss_below": e.level.end} if e.rows and not e.blown_up else {},
    )


def learn_something(
    findings: Findings, e: Evidence, lowered: Callable[[Remedy], Remedy]
) -> Iterator[Remedy]:
    """Propose cures for a model no better than a constant output: other features, smaller steps,
    other weights. `lowered`: gives a remedy of the rate that works, in place of one that does not.
    """
    problem = e.spec.problem
    if not isinstance(problem, DataProblem) or not findings["constant_guess"].triggered:
        return
    yield from standardize(e)
    yield from unequal_units(findings, e)
    dead = findings["dead_units"].triggered
    thrown = e.level.thrown or findings["gradient_spikes"].triggered
    least = findings["constant_guess"].reading.evidence.get("constant_loss", math.nan)
    expected = known({"final_loss_below": least})
    model = problem.model
    if dead or thrown:
        tenth = Remedy(
            scaled_rate(e.spec, 0.1),
            "Steps that were too long have left the units without a slope; a tenth does less.",
            {"lr_factor": 0.1, **expected},
        )
        yield lowered(tenth)
    if dead and isinstance(model, MLP) and model.activation == "relu":
        yield Remedy(
            {"seed": (e.spec.seed + 1) % 2**31, "problem": {"model": {"activation": "gelu"}}},
            "Other first weights, and an activation with a slope on both sides, so that no unit"
            " stays without one.",
            expected,
        )


def unequal_units(findings: Findings, e: Evidence) -> Iterator[Remedy]:
    """Random first weights where all are equal."""
    if findings["equal_units"].triggered:
        yield Remedy(
            {"problem": {"model": {"init": {"kind": "kaiming_uniform"}}}},
            "Equal first weights leave the units of a layer alike; random ones tell them apart.",
            {"final_loss_below": e.level.end} if e.rows and not e.blown_up else {},
        )


def loosen(findings: Findings, e: Evidence) -> Iterator[Remedy]:
    """Propose a higher limit of clipping, a smaller weight decay."""
    if findings["held_by_clipping"].triggered:
        size = float(np.nanmedian(e.grad))
        clip = e.spec.gradient_clip
        patch: dict[str, Any] = {"kind": "norm", "max_norm": rounded(size, 2)}
        before = clip.max_norm if isinstance(clip, ClipNorm) else math.nan
        yield Remedy(
            {"gradient_clip": patch},
            "A limit at the gradient's usual norm cuts off spikes, and nothing else.",
            known({"times_longer_steps": size / before}),
        )
    if findings["held_by_decay"].triggered:
        given = float(getattr(e.spec.optimizer, "weight_decay", 0.0))
        smaller = 0.0 if isinstance(e.spec.problem, FunctionProblem) else min(1e-2, 0.01 * given)
        whole = "share_of_weights" in findings["held_by_decay"].reading.evidence
        yield Remedy(
            {"optimizer": {"weight_decay": rounded(smaller)}},
            "The decay takes the weights off whole at each update."
            if whole
            else "The decay pulls the weights back as fast as the gradient moves them.",
            {} if e.blown_up else {"final_loss_below": e.level.end},
        )


def calm(e: Evidence) -> Iterator[Remedy]:
    """Less momentum where it makes the run swing: as much as lets the slowest swing die out.

    Heavy ball swings with √(ηλ) radians a step, whatever the momentum is near 1, and does not
    where β ≤ (1 − √(ηλ))² (Polyak 1964; critical damping).
    """
    exact = calmer_on_a_quadratic(e)
    if exact is not None:
        yield exact
        return
    found = swings_of(e)
    period = math.nan if found is None else found.period
    # The loss swings twice while the point swings once.
    critical = (1.0 - math.pi / period) ** 2 if period > 2.0 * math.pi else 0.9
    optimizer = e.spec.optimizer
    text = "Less momentum brakes the swings; a smaller rate would only make them longer."
    if isinstance(optimizer, SGD) and optimizer.momentum > 0.5:
        wanted = rounded(min(critical, 1.0 - 3.0 * (1.0 - optimizer.momentum), 0.99), 3)
        yield Remedy({"optimizer": {"momentum": max(0.0, wanted)}}, text, {"momentum": wanted})
        return
    betas = getattr(optimizer, "betas", None)
    if betas is not None and betas[0] > 0.9:
        yield Remedy({"optimizer": {"betas": [0.9, betas[1]]}}, text, {"beta1": 0.9})
