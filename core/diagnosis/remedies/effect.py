"""Judgement whether a remedy helped: a run against the run that it was proposed for. Pure, no
torch.

The measure is what the parent suffered from: the outcome where one of them diverged, the evaluation
loss where the parent overfitted, else the loss at the end, and where that is the same, the steps to
the parent's best loss.
"""

import math
from typing import Final, Literal

import numpy as np

from core.diagnosis.evidence import curves
from core.diagnosis.evidence.curves import Floats
from core.diagnosis.evidence.evidence import Evidence, gather
from core.diagnosis.finding import number
from core.diagnosis.words import apart
from core.jobs import Outcome
from core.specs.base import Json
from core.specs.direction import goal_of, sign_of
from core.specs.job import DataProblem, JobSpec

Columns = dict[str, Floats]
Verdict = Literal["improved", "no_change", "worse"]

MOST_LOWS: Final = 256
SAME: Final = 0.02
"""Ends within this share of the parent's gap (or three standard errors) count as equal."""
SOONER: Final = 0.8
"""Steps: improved at or below this share of the parent's, worse at or above its inverse."""


def facts(
    spec: JobSpec,
    outcome: Outcome | None,
    result: Json | None,
    train: Columns,
    evaluation: Columns | None,
    diagnosis: Json | None = None,
) -> Json:
    """Return what `compare` needs to know of a run: a small strict JSON. Arguments as for
    `diagnose`.

    Losses are of what is to fall: the negative of a loss that is maximized (`goal`). `full_loss` is
    that of all training rows at the last weights, where it was measured. `lows` are
    the record lows (step, loss), of block means where the losses are noisy, thinned to
    at most 256; `error` is the standard error of `end`, the mean of the last eighth.
    """
    with np.errstate(all="ignore"):
        e = gather(spec, outcome, train, evaluation, result=result)
        known = e.rows > 0
        found: Json = {
            "goal": goal_of(spec.optimizer),
            "outcome": "diverged" if e.blown_up else outcome,
            "verdict": None if diagnosis is None else diagnosis.get("verdict"),
            "first_loss": number(e.start) if known else None,
            "end": number(_end(e)) if known else None,
            "error": number(_error(e)) if known else None,
            "best_loss": number(e.level.best) if known else None,
            "num_steps": int(e.step[-1]) if known else 0,
            "floor": _floor(e),
            "lows": _lows(e) if known else [],
        }
        if diagnosis is not None:
            found["full_loss"] = (diagnosis.get("measured") or {}).get("loss")
        if result is not None:
            final = result.get("final_loss")
            found["final_loss"] = (
                number(e.sign * final) if isinstance(final, (int, float)) else None
            )
    if evaluation is not None and len(evaluation.get("loss", ())):
        losses = e.sign * np.asarray(evaluation["loss"], dtype=np.float64)
        finite = losses[np.isfinite(losses)]
        found["eval_end"] = number(float(losses[-1]))
        found["eval_best"] = number(float(finite.min())) if finite.size else None
    return found


def _end(e: Evidence) -> float:
    """Return the loss at the end: without noise the last one; else the mean of the last eighth."""
    return float(e.loss[-1]) if e.deterministic else e.level.end


def _error(e: Evidence) -> float:
    """Return the standard error of the end, with neighbouring blocks counted as one where they
    agree."""
    if e.deterministic:
        return 0.0
    last = e.loss[e.rows - max(1, e.rows // 8) :]
    view = curves.blocks(last, 8)
    if view.mean.size < 3:
        return e.noise
    return float(view.mean.std(ddof=1)) / math.sqrt(view.mean.size)


def _floor(e: Evidence) -> float | None:
    """Return the least that the loss can be: a function's known minimum, 0 for supervised losses
    that are minimized."""
    if isinstance(e.spec.problem, DataProblem):
        return 0.0 if e.sign > 0 else None
    return None if e.land is None else e.land.minimum


def _lows(e: Evidence) -> list[list[float]]:
    if e.deterministic:
        step, loss = e.step, e.loss
    else:
        view = curves.blocks(e.loss, 64)
        step, loss = np.interp(view.row, np.arange(e.rows), e.step), view.mean
    lowest = np.minimum.accumulate(loss)
    new = np.flatnonzero(np.concatenate([[True], lowest[1:] < lowest[:-1]]))
    thin = new[np.unique(np.linspace(0, new.size - 1, min(new.size, MOST_LOWS)).astype(int))]
    return [[float(step[i]), float(loss[i])] for i in thin]


def compare(parent: Json, child: Json) -> Json:
    """Return `compared_to_parent`: the verdict, what it was measured by, and both runs' numbers.

    Args:
        parent, child: `facts` of the two runs.
    """
    verdict, measure, reason = _judge(parent, child)
    target = _last_low(parent)
    return {
        "verdict": verdict,
        "measure": measure,
        "reason": reason,
        "before": _summary(parent, target),
        "after": _summary(child, target),
    }


def _summary(one: Json, target: float | None) -> Json:
    return {
        "outcome": one["outcome"],
        "final_loss": _as_recorded(one, one["end"]),
        "best_loss": _as_recorded(one, one["best_loss"]),
        "full_loss": _as_recorded(one, one.get("full_loss")),
        "eval_loss": _as_recorded(one, one.get("eval_end")),
        "steps_to_parents_best": _steps_to(one, target),
    }


def _as_recorded(one: Json, loss: float | None) -> float | None:
    """Return a loss of the facts as the history has it."""
    return None if loss is None else sign_of(one["goal"]) * loss


def _last_low(one: Json) -> float | None:
    return one["lows"][-1][1] if one["lows"] else None


def _steps_to(one: Json, target: float | None) -> float | None:
    if target is None:
        return None
    near = target + 1e-12 * abs(target)
    return next((step for step, loss in one["lows"] if loss <= near), None)


_ENDS: Final = ("outcome", "end", "best_loss", "full_loss", "eval_end", "lows")


def _judge(parent: Json, child: Json) -> tuple[Verdict, str, str]:
    if parent["goal"] != child["goal"]:
        return "no_change", "loss", "One of the runs maximizes its loss, the other minimizes it."
    if all(parent.get(name) == child.get(name) for name in _ENDS):
        return "no_change", "loss", "The runs are equal."
    blown = [one["outcome"] == "diverged" for one in (parent, child)]
    if blown[0] and blown[1]:
        return "no_change", "outcome", "Both runs diverged."
    if blown[1]:
        return "worse", "outcome", "The run diverged, and its parent had not."
    if blown[0]:
        return "improved", "outcome", "The run did not diverge, as its parent had."
    if parent["verdict"] == "overfitting":
        before, after = parent.get("eval_end"), child.get("eval_end")
        if before is not None and after is not None:
            return _by_level(before, after, 0.0, abs(before), "eval_loss", parent["goal"])
    whole = parent.get("full_loss"), child.get("full_loss")
    measured = parent["error"] and None not in whole
    before, after = whole if measured else (parent["end"], child["end"])
    if before is None or after is None:
        return "no_change", "loss", "One of the runs has no rows."
    floors = [one["floor"] for one in (parent, child) if one["floor"] is not None]
    floor = max(floors) if floors else min(before, after, parent["best_loss"], child["best_loss"])
    first = parent["first_loss"] - floor
    # Below a millionth of a millionth of the first gap, both have arrived.
    arrived = 1e-12 * max(first, abs(floor), 1e-300)
    if before - floor <= arrived and after - floor <= arrived:
        return _by_steps(parent, child)
    gap = max(before - floor, first * 1e-6 if not floors else 0.0)
    error = 0.0 if measured else math.hypot(parent["error"] or 0.0, child["error"] or 0.0)
    found = _by_level(before, after, error, gap, "loss", parent["goal"])
    noisy = bool(parent["error"] or child["error"])
    return found if found[0] != "no_change" or noisy else _by_steps(parent, child)


def _by_level(
    before: float, after: float, error: float, gap: float, measure: str, goal: str
) -> tuple[Verdict, str, str]:
    least = max(SAME * gap, 3.0 * error)
    what = "evaluation loss" if measure == "eval_loss" else "loss"
    sign = sign_of(goal)
    now, earlier = apart(sign * after, sign * before, digits=4)
    text = f"The {what} at the end is {now}, where it was {earlier}."
    if after < before - least:
        return "improved", measure, text
    if after > before + least:
        return "worse", measure, text
    return "no_change", measure, text


def _by_steps(parent: Json, child: Json) -> tuple[Verdict, str, str]:
    target = _last_low(parent)
    before, after = _steps_to(parent, target), _steps_to(child, target)
    if before is None or after is None:
        return "no_change", "loss", "The runs end at about the same loss."
    if parent["verdict"] == "converged" and before <= 0.5 * parent["num_steps"]:
        # It was at rest with half of its steps to spare: the same end sooner is no other end.
        return "no_change", "loss", "Both runs come to the same loss and rest there."
    text = f"The parent's best loss was reached in {after:.0f} steps, where it took {before:.0f}."
    if after <= SOONER * before - 1:
        return "improved", "steps", text
    if after >= before / SOONER + 1:
        return "worse", "steps", text
    return "no_change", "steps", text
