"""End of a run: the last rows, the outcome, the weights, the result."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from core.jobs import Outcome
from core.messages.reports import Concluded, Ending, PhaseBegun
from core.specs.base import Json
from core.train.periodic import RunParts
from core.train.problems.base import Problem
from core.train.stopping import final_outcome


def hand_over(parts: RunParts) -> Ending:
    """Leave everything for another worker to go on from; the last row stays unrecorded unless its
    step is a multiple of `record.every`. The result is that of a run which nobody goes on with."""
    parts.emit(PhaseBegun("saving"))
    snapshot = parts.course.snapshot()
    parts.saver.save_resume(snapshot, parts.course.metrics())
    _send_files(parts)
    with parts.descent.at_result_weights():
        result = _result(parts, parts.descent.problem.value(), parts.course.elapsed_s)
    # The test comes once, at the end: not here.
    return Ending("handed_over", None, result, parts.ledger.best.summary())


def conclude(parts: RunParts, row_outcome: Outcome | None) -> Ending:
    """Finish, or (asked to cancel) keep what there is.

    Args:
        row_outcome: what the row showed that ended the run; None: no row did.
    """
    descent, ledger, course = parts.descent, parts.ledger, parts.course
    problem, best = descent.problem, ledger.best
    finished = row_outcome is not None or course.reason == "finished"
    if row_outcome is not None:
        descent.take_row_back()
    outcome: Outcome | None = None
    with descent.at_result_weights():
        value = problem.value()
        finite = all_finite(descent.weights.values()) and math.isfinite(value or 0.0)
    if finished:
        shown, sign = row_outcome or "budget_exhausted", ledger.rules.sign
        outcome = final_outcome(shown, ledger.trace, finite=finite, sign=sign)
    # To be continued: as if the run went on here, so before what only the end of one does.
    snapshot = None
    if outcome != "diverged":
        snapshot = course.snapshot(last=True, row_entered=row_outcome is not None)
    raw = descent.raw_weights()
    descent.go_to_result_weights()
    ledger.close()
    if finished:
        course.evaluate(last=True)
        if outcome == "budget_exhausted" and ledger.judged.outcome == "converged":
            outcome = "converged"  # by the last evaluation, which no row follows
    train_s = course.elapsed_s
    parts.reporter.report(course.step)

    parts.emit(PhaseBegun("saving"))
    test = _test(parts)  # before any file is written of weights that it moves
    result = _result(parts, value, train_s) | {"test": test}
    if finished:  # the diagnosis is made while the files are written
        parts.emit(Concluded(outcome, result))
    if snapshot is not None:
        parts.saver.save_resume(snapshot, course.metrics())
    if best.weights is not None:
        weights = dict(zip(descent.weights, best.weights, strict=True))
        parts.saver.save_model("best", best.step, weights, best.metrics)
    known = course.metrics() if value is None else {"loss": value}
    if row_outcome is not None:
        known = {"loss": ledger.trace.last, **known}
    parts.saver.save_model("final", course.step, descent.weights, known)
    if raw is not None:
        parts.saver.save_model("raw", course.step, raw, {})
    _send_files(parts)
    return Ending("finished" if finished else "cancelled", outcome, result, best.summary())


def _result(parts: RunParts, value: float | None, train_s: float) -> Json:
    """Make the contract's `result`; `value`: of a function, at the weights that stand now."""
    ledger, best, problem = parts.ledger, parts.ledger.best, parts.descent.problem
    result: Json = {
        "initial_loss": ledger.trace.began_at,
        "final_loss": ledger.trace.last if ledger.trace.tail else None,
        "best_loss": best.best_loss,
        "num_steps": parts.course.step,
        "train_s": train_s,
        "num_parameters": problem.num_parameters,
        "eval": ledger.last_evaluation(),
        "test": None,
    }
    shown = result["eval"]
    if shown is not None and ledger.evaluated_step == parts.course.step:
        matrix = problem.confusion_matrix()
        result["eval"] = shown if matrix is None else {**shown, "confusion_matrix": matrix}
    if value is not None:
        result |= {"solution": problem.solution(), "value": value}
    return result


def _test(parts: RunParts) -> Json | None:
    """Measure the final and the best weights on the rows of the test, which nothing else looks at;
    None without any. The weights that stand now come back to the last bit."""
    descent, best, step = parts.descent, parts.ledger.best, parts.course.step
    descent.clear_gradients()
    final = _tested(descent.problem, step)
    if final is None:
        return None
    if best.weights is None:
        return {"best": None, "final": final}
    if best.step == step:
        return {"best": final, "final": final}
    held = {name: weight.clone() for name, weight in descent.weights.items()}
    descent.problem.load_state(dict(zip(descent.weights, best.weights, strict=True)))
    at_best = _tested(descent.problem, best.step)
    descent.problem.load_state(held)
    return {"best": at_best, "final": final}


def _tested(problem: Problem, step: int) -> Json | None:
    """Measure the weights that stand now, those after `step` updates, on the rows of the test."""
    measured = problem.evaluate("test")
    if measured is None:
        return None
    matrix = problem.confusion_matrix("test")
    return {"step": step, **measured, **({} if matrix is None else {"confusion_matrix": matrix})}


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Tell whether every number is finite; waits for the device once."""
    checks = [torch.isfinite(tensor).all() for tensor in tensors if tensor.is_floating_point()]
    return bool(torch.stack(checks).all()) if checks else True


def _send_files(parts: RunParts) -> None:
    for saved in parts.saver.wait():
        parts.emit(saved)
