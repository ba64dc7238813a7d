"""The measured half of a full diagnosis: what the weights tell and the history cannot.

Runs where torch is (the trainer). Its answer is small strict JSON, which `core.diagnosis.diagnose`
weighs together with the history.
"""

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from time import perf_counter
from typing import Any, Final

import torch
from torch import Tensor

from core.artifacts.base import JobArtifacts
from core.diagnosis.evidence.landscape import in_reach
from core.errors import ArtifactError, NotFoundError
from core.formats import WEIGHTS, check_file
from core.specs.base import Json
from core.specs.direction import goal_of, sign_of_job
from core.specs.job import DataProblem, FunctionProblem, JobSpec, OfData
from core.specs.models import KaimingUniform
from core.specs.sizes.first_weights import equal_first_weights
from core.specs.sizes.shapes import layers_of
from core.train.checkpoint.snapshot import decode, resume_points, step_name, step_of
from core.train.data.build import build_data
from core.train.data.examine import examined
from core.train.devices import exact_kernels, pick_device
from core.train.measure import curvature, layers, multistart, trial_steps
from core.train.measure.curvature import Product, Spectrum
from core.train.measure.objective import Objective, build_objective, weights_at
from core.train.measure.preconditioner import preconditioner
from core.train.state import StateCopy
from core.train.tensors.tensor_file import parse

Tree = Any

BUDGET_S: Final = 1.5
SHARE: Final = 0.1
"""A full diagnosis takes at most this share of the training time, but is given `LEAST_S`."""
LEAST_S: Final = 0.5
MOST_S: Final = 60.0
_DRAWS: Final = 8
_NEWTON: Final = 60
"""Most products for a Newton step."""
_AT_REST: Final = 1e-2
"""A model whose gradient is below this share of its first is worth comparing with others."""
_OTHER_STARTS: Final = 3
_OTHER_STEPS: Final = 60
_OTHER_LR: Final = 0.01
"""Number of the short descents that it is compared with."""


def budget_for(train_s: float) -> float:
    """Return the seconds that a full diagnosis may take after `train_s` of training."""
    return min(MOST_S, max(LEAST_S, SHARE * train_s))


def measure_checkpoint(
    spec: JobSpec,
    artifacts: JobArtifacts,
    checkpoint: str = "final",
    *,
    device: str = "cpu",
    budget_s: float = BUDGET_S,
    clock: Callable[[], float] = perf_counter,
) -> Json:
    """Measure a kept checkpoint: `final`, `best`, `initial`, `raw`, or a step as digits.

    `final` uses the optimizer's state where the last resume checkpoint is of the same step.

    Raises:
        NotFoundError: there is no such checkpoint.
        ArtifactError: it cannot be read.
    """
    where = str(pick_device(device))
    moment: StateCopy | None = None
    if checkpoint.isdigit():
        snapshot = decode(artifacts.read(step_name(int(checkpoint))), spec, where)
        moment, step = snapshot.moment, snapshot.step
        weights = weights_at(spec, moment, where)
    elif checkpoint in ("final", "best", "initial", "raw"):
        weights, metadata = parse(artifacts.read(f"{checkpoint}.safetensors"))
        check_file(metadata.get("thalweg_weights"), WEIGHTS, "weights")
        step = int(metadata.get("step", "0"))
        kept = {step_of(name) for name in resume_points(artifacts)}
        if checkpoint == "final" and step in kept:
            with suppress(ArtifactError):  # the weights are worth measuring without it
                moment = decode(artifacts.read(step_name(step)), spec, where).moment
    else:
        raise NotFoundError(f"no checkpoint {checkpoint!r}")
    found = measure(spec, weights, moment, device=device, budget_s=budget_s, clock=clock)
    return {"checkpoint": checkpoint, "step": step, **found}


def measure(
    spec: JobSpec,
    weights: Mapping[str, Tensor] | None,
    moment: StateCopy | None = None,
    *,
    device: str = "cpu",
    budget_s: float = BUDGET_S,
    clock: Callable[[], float] = perf_counter,
) -> Json:
    """Measure what curvature, layers, batches and other starts say of a run's weights.

    Args:
        spec: resolved.
        weights: by the problem's names; None: the initial ones.
        moment: all that the next step depends on, where it is known (a resume checkpoint's).
        budget_s: begin nothing new after this many seconds; what is missing then is missing in
            the answer.

    Returns strict JSON: `loss`, `grad_norm` (all rows, float64), `data` (see
    `core.train.data.examine`), `largest`, `smallest` (`value`, `bound`), `spectrum` (Ritz values,
    with the weights of a density of eigenvalues; at most 64), `newton_step`, `negative_step`,
    `preconditioned`, `layers`, `units`, `through_time`, `noise`, `constant_loss`, `multi_start`,
    `initial`, each where it could be had. A maximized problem is measured with the other sign.
    """
    begin = clock()

    def within(share: float) -> Callable[[], bool]:
        return lambda: clock() - begin < share * budget_s

    with exact_kernels():
        objective = build_objective(spec, weights, pick_device(device))
        found = _basics(objective)
        if isinstance(spec.problem, DataProblem):
            found["data"] = _examined(spec.problem, pick_device(device))
        if math.isfinite(found["loss"]) and math.isfinite(found["grad_norm"]):
            _measure(spec, weights, moment, objective, found, within)
        if weights is not None and _far_above(found):
            found["initial"] = _initial(spec, pick_device(device), within(0.75))
        found["elapsed_s"] = clock() - begin
    clean: Json = strict(found)
    return clean


def _examined(problem: OfData, device: torch.device) -> Json | None:
    data = build_data(problem, device, torch.float64)
    return None if data.in_time else examined(data)


def _far_above(found: Json) -> bool:
    """Tell whether the weights are so bad that the first ones tell more (not finite, or far
    above)."""
    first = (found.get("initial") or {}).get("loss")
    if not math.isfinite(found["loss"]):
        return True
    return first is not None and found["loss"] > 3.0 * first


def _basics(objective: Objective) -> Json:
    gradient = objective.gradient()
    return {
        "loss": objective.loss(),
        "grad_norm": float(gradient.norm()),
        "rows": objective.rows,
        "all_rows": objective.all_rows,
        "parameters": objective.dim,
    }


def _measure(
    spec: JobSpec,
    weights: Mapping[str, Tensor] | None,
    moment: StateCopy | None,
    objective: Objective,
    found: Json,
    within: Callable[[float], Callable[[], bool]],
) -> None:
    gradient = objective.gradient()
    squares = None
    size = spec.batch_size
    if objective.model is not None:
        found["initial"] = _initial(spec, gradient.device, None)
        found["units"] = layers.units(objective.model)
        found["through_time"] = layers.through_time(objective.model)
        found["constant_loss"] = layers.constant_loss(spec, objective.model)
        if isinstance(size, int) and size < objective.rows and within(0.2)():
            noise = layers.noise_scale(objective, gradient, size, _DRAWS, within(0.4))
            squares = noise.pop("squares")
            found["noise"] = noise
        update = trial_steps.next_update(spec, weights, moment, gradient.device)
        found["layers"] = layers.layer_table(objective, gradient, update)
    product = curvature.hessian_product(objective)
    spectrum = curvature.extremes(
        product, objective.dim, device=gradient.device, in_time=within(0.75)
    )
    if spectrum is not None:
        _ends(found, spectrum)
    state = None if moment is None else moment.optimizer
    if within(0.9)():
        _preconditioned(spec, objective, product, state, squares, found, within(1.0))
    way = None
    if objective.model is not None and spectrum is not None and within(0.8)():
        way = trial_steps.newton_direction(product, gradient, _NEWTON, within(0.9))
    # Last: it moves the weights for a while, which spoils the graph of the products.
    if way is not None:
        found["newton_step"] = trial_steps.gain(objective, way, within(1.0))
    if spectrum is not None and spectrum.smallest.value < -spectrum.rounding:
        found["negative_step"] = trial_steps.negative_step(
            objective, spectrum.smallest, gradient, within(1.0)
        )
    if isinstance(spec.problem, FunctionProblem):
        _multi_start(spec, spec.problem, objective, found, within(1.0))
    elif found["grad_norm"] <= _AT_REST * found["initial"]["grad_norm"]:
        found["multi_start"] = _lowest_elsewhere(spec, gradient.device, within(1.0))


def _ends(found: Json, spectrum: Spectrum) -> None:
    found["largest"] = {"value": spectrum.largest.value, "bound": spectrum.largest.bound}
    found["smallest"] = {"value": spectrum.smallest.value, "bound": spectrum.smallest.bound}
    found["spectrum"] = {"values": spectrum.values, "weights": spectrum.weights}
    found["products"] = spectrum.products
    found["settled"] = spectrum.settled
    found["rounding"] = spectrum.rounding


def _initial(spec: JobSpec, device: torch.device, in_time: Callable[[], bool] | None) -> Json:
    """Measure loss, gradient and layers at the run's own first weights, which the seed gives again;
    with `in_time`, the largest curvature too (for a run whose last weights are not finite)."""
    start = build_objective(spec, None, device)
    gradient = start.gradient()
    found: Json = {"loss": start.loss(), "grad_norm": float(gradient.norm())}
    if start.model is not None:
        found["layers"] = layers.layer_table(start, gradient, None)
        found["through_time"] = layers.through_time(start.model)
        found["constant_loss"] = layers.constant_loss(spec, start.model)
    if in_time is not None:
        product = curvature.hessian_product(start)
        spectrum = curvature.extremes(
            product, start.dim, device=device, in_time=in_time, smallest_too=False
        )
        found["largest"] = None if spectrum is None else spectrum.largest.value
    return found


def _preconditioned(
    spec: JobSpec,
    objective: Objective,
    product: Product,
    state: Tree,
    squares: Tensor | None,
    found: Json,
    in_time: Callable[[], bool],
) -> None:
    known = preconditioner(spec, objective, state, squares)
    if known is None:
        return
    scaled = curvature.preconditioned(product, known.diagonal)
    spectrum = curvature.extremes(
        scaled,
        objective.dim,
        device=known.diagonal.device,
        in_time=in_time,
        smallest_too=False,
    )
    if spectrum is not None:
        found["preconditioned"] = {
            "value": spectrum.largest.value,
            "bound": spectrum.largest.bound,
            "threshold": known.threshold,
            "source": known.source,
        }


def _multi_start(
    spec: JobSpec,
    problem: FunctionProblem,
    objective: Objective,
    found: Json,
    in_time: Callable[[], bool],
) -> None:
    began = build_objective(spec, None, objective.parameters[0].device)
    first, last = (each.parameters[0].detach().cpu().numpy() for each in (began, objective))
    if not in_reach(last):
        return
    first = first if in_reach(first) else last
    seen = multistart.minima(problem, first, last, in_time, sign_of_job(spec))
    if seen is None:
        return
    found["multi_start"] = {
        "starts": seen.starts,
        "arrived": seen.arrived,
        "minima": seen.distinct,
        "best": seen.best,
        "at": None if seen.at is None else [float(each) for each in seen.at],
    }


def strict(value: Any) -> Any:
    """Return the same JSON with None for NaN and infinities."""
    if isinstance(value, dict):
        return {key: strict(each) for key, each in value.items()}
    if isinstance(value, list):
        return [strict(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _lowest_elsewhere(
    spec: JobSpec, device: torch.device, in_time: Callable[[], bool]
) -> Json | None:
    """Return the lowest loss over all rows that full-batch Adam comes to from a few other seeds.

    A loss below the one at rest proves a lower minimum (losses are bounded below). None for a
    linear model, whose loss is convex, for a loss that is maximized, which has no bound, and when
    there was no time for a single step.
    """
    problem = spec.problem
    if not isinstance(problem, DataProblem) or layers_of(problem).convex:
        return None
    if goal_of(spec.optimizer) == "max":
        return None
    model = problem.model
    if equal_first_weights(model, spec.precision) is not None:  # other seeds would draw the same
        model = model.model_copy(update={"init": KaimingUniform()})
    if model.initial_weights is not None:
        model = model.model_copy(update={"initial_weights": None, "stored_weights": None})
    best, starts = float("inf"), 0
    for number in range(1, _OTHER_STARTS + 1):
        other = spec.model_copy(
            update={
                "seed": (spec.seed + number) % 2**31,
                "problem": problem.model_copy(update={"model": model}),
            }
        )
        objective = build_objective(other, None, device)
        optimizer = torch.optim.Adam(objective.parameters, lr=_OTHER_LR)
        for _ in range(_OTHER_STEPS):
            if not in_time():
                break
            optimizer.zero_grad()
            loss = objective.evaluate(None)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            best = min(best, loss.item())
        starts += 1
        if not in_time():
            break
    return {"starts": starts, "best": best} if best < float("inf") else None
