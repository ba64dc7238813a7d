"""Averages, slow weights and sharpness around an optimizer: against torch's own averages, and by
hand; resumed, continued and rolled back to the bit; around every optimizer."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, get_swa_multi_avg_fn

from core.errors import InvalidInputError
from core.specs.job import JobSpec
from core.specs.parsing.job import parse_job
from core.specs.sizes.fusing import fusable
from core.specs.unions import members
from core.specs.validation.limits import Limits
from core.train.optim.build import build_optimizer
from core.train.problems.build import build_problem
from core.train.state import OptimizationState
from tests.core.train.checkpoint.test_resume import AWKWARD, assert_same, interrupted
from tests.core.train.harness import StopAt, blobs_job, function_job, train

Json = dict[str, Any]
WRAPS: dict[str, list[Json]] = {
    "ema": [{"kind": "ema", "decay": 0.7}],
    "swa": [{"kind": "swa", "start": 3, "every": 2}],
    "lookahead": [{"kind": "lookahead", "k": 3, "alpha": 0.4}],
    "sam": [{"kind": "sam", "rho": 0.1}],
    "all": [
        {"kind": "ema", "decay": 0.7},
        {"kind": "lookahead", "k": 2},
        {"kind": "sam"},
        {"kind": "swa", "start": 4},
    ],
}
REFUSED = {
    ("lbfgs", "lookahead"), ("lbfgs", "sam"), ("lbfgs", "all"),
    *((kind, wrap) for kind in ("schedule_free_sgd", "schedule_free_adamw")
      for wrap in ("ema", "swa", "lookahead", "all")),
}  # fmt: skip
MOMENTUM = {"kind": "sgd", "lr": 0.1, "momentum": 0.9}


def square(optimizer: Json, max_steps: int, **rest: Any) -> JobSpec:
    """x² from 10."""
    return function_job("x**2", {"x": 10.0}, optimizer, max_steps, **rest)


def parsed(spec: JobSpec) -> JobSpec:
    return parse_job(spec.model_dump_json().encode(), Limits())


def by_hand(spec: JobSpec, steps: int) -> tuple[Any, torch.optim.Optimizer]:
    problem = build_problem(spec, torch.device("cpu"), torch.float32)
    return problem, build_optimizer(spec.optimizer, problem.parameters())


class Held(nn.Module):
    """A module that holds a problem's parameters, for torch's averages."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        super().__init__()
        self.held = nn.ParameterList(parameters)


@pytest.mark.parametrize("kind", ["ema", "swa"])
def test_an_average_has_the_bits_of_torchs(kind: str, tmp_path: Path) -> None:
    spec = blobs_job({**MOMENTUM, "wrap": WRAPS[kind]}, 12)
    problem, optimizer = by_hand(spec, 12)
    multi = get_ema_multi_avg_fn(0.7) if kind == "ema" else get_swa_multi_avg_fn()  # type: ignore[no-untyped-call]
    model = Held(problem.parameters())
    averaged = AveragedModel(model, multi_avg_fn=multi)
    for step in range(12):
        optimizer.zero_grad()
        problem.loss(step).backward()
        optimizer.step()
        updates = step + 1
        if kind == "ema" or (updates >= 3 and (updates - 3) % 2 == 0):
            averaged.update_parameters(model)
    trained = train(spec, tmp_path)
    names = list(problem.state())
    mean = averaged.module
    assert isinstance(mean, Held)
    wanted = dict(zip(names, mean.held, strict=True))
    raw = dict(zip(names, model.held, strict=True))
    for name in names:
        np.testing.assert_array_equal(trained.weights()[name], wanted[name].detach().numpy())
        np.testing.assert_array_equal(trained.weights("raw")[name], raw[name].detach().numpy())


def test_training_rows_are_of_the_weights_that_are_trained(tmp_path: Path) -> None:
    plain = train(blobs_job(MOMENTUM, 12), tmp_path / "a")
    averaged = train(blobs_job({**MOMENTUM, "wrap": WRAPS["ema"]}, 12), tmp_path / "b")
    assert averaged.column("loss") == plain.column("loss")
    assert averaged.column("loss", "eval")[-1] != plain.column("loss", "eval")[-1]
    for name, values in plain.weights().items():
        np.testing.assert_array_equal(averaged.weights("raw")[name], values)


def test_evaluations_and_the_best_are_of_the_average(tmp_path: Path) -> None:
    spec = blobs_job({**MOMENTUM, "wrap": WRAPS["ema"]}, 12)
    trained = train(spec, tmp_path)
    problem = build_problem(spec, torch.device("cpu"), torch.float32)
    for name, step in (("final", 12), ("best", trained.ending.best["step"])):  # type: ignore[index]
        weights = trained.weights(name)
        problem.load_state({key: torch.from_numpy(each) for key, each in weights.items()})
        row = [int(each) for each in trained.column("step", "eval")].index(step)
        found = problem.evaluate()
        assert found is not None
        assert found["loss"] == trained.column("loss", "eval")[row]


def test_before_swa_begins_evaluations_are_of_the_weights_themselves(tmp_path: Path) -> None:
    plain = train(blobs_job(MOMENTUM, 12), tmp_path / "a")
    late = train(
        blobs_job({**MOMENTUM, "wrap": [{"kind": "swa", "start": 12}]}, 12), tmp_path / "b"
    )
    assert late.column("loss", "eval") == plain.column("loss", "eval")


def test_a_mean_of_a_parabolas_points_is_the_closed_one(tmp_path: Path) -> None:
    # x ← (1 − 2·0.1)·x: the points after updates 2, 4 and 6 are 10·0.8², …
    spec = square({"kind": "sgd", "lr": 0.1, "wrap": [{"kind": "swa", "start": 2, "every": 2}]}, 6)
    result = train(spec, tmp_path).ending.result
    start = train(spec, tmp_path / "again").column("x")[0][0]
    wanted = start * (0.8**2 + 0.8**4 + 0.8**6) / 3
    assert next(iter(result["solution"].values())) == pytest.approx(wanted, rel=1e-14)
    assert result["value"] == pytest.approx(wanted**2, rel=1e-14)


def points(wrap: list[Json], folder: Path, **more: Any) -> list[float]:
    spec = square({"kind": "sgd", "lr": 0.1, "wrap": wrap, **more}, 6)
    return [x[0] for x in train(spec, folder).column("x")]


def test_slow_weights_by_hand(tmp_path: Path) -> None:
    # Two updates of x ← 0.8x take x to 0.64x; the slow weight goes half of the way.
    found = points([{"kind": "lookahead", "k": 2, "alpha": 0.5}], tmp_path)
    x = found[0]
    assert found == pytest.approx([x, 0.8 * x, 0.82 * x, 0.656 * x, 0.82**2 * x,
                                   0.8 * 0.82**2 * x], rel=1e-14)  # fmt: skip


@pytest.mark.parametrize("maximize", [False, True])
def test_sharpness_by_hand(maximize: bool, tmp_path: Path) -> None:
    # The gradient 2x is taken ρ further from 0 (nearer to 0 under maximize), and the row is of x.
    found = points([{"kind": "sam", "rho": 0.5}], tmp_path, maximize=maximize)
    sign = -1.0 if maximize else 1.0
    x, wanted = found[0], []
    for _ in range(6):
        wanted.append(x)
        at = x + sign * 0.5 * np.sign(x)
        x -= sign * 0.1 * 2.0 * at
    assert found == pytest.approx(wanted, rel=1e-10)


def test_sharpness_on_a_model_is_that_of_the_paper(tmp_path: Path) -> None:
    clip = {"kind": "norm", "max_norm": 0.3}
    spec = blobs_job({**MOMENTUM, "wrap": [{"kind": "sam", "rho": 0.2}]}, 8, gradient_clip=clip)
    problem, optimizer = by_hand(spec, 8)
    parameters, losses = problem.parameters(), []
    for step in range(8):
        optimizer.zero_grad()
        loss = problem.loss(step)
        loss.backward()
        losses.append(loss.item())
        norm = torch.sqrt(sum((p.grad**2).sum() for p in parameters))
        before = [p.detach().clone() for p in parameters]
        with torch.no_grad():
            for p in parameters:
                assert p.grad is not None
                p.add_(0.2 * p.grad / norm)
        optimizer.zero_grad()
        problem.loss(step).backward()
        with torch.no_grad():
            for p, old in zip(parameters, before, strict=True):
                p.copy_(old)
        nn.utils.clip_grad_norm_(parameters, 0.3)
        optimizer.step()
    assert train(spec, tmp_path).column("loss") == pytest.approx(losses, rel=1e-5)


def test_the_second_pass_of_sharpness_leaves_running_statistics(tmp_path: Path) -> None:
    spec = blobs_job({**MOMENTUM, "wrap": WRAPS["sam"]}, model=AWKWARD)
    descent = OptimizationState(spec, build_problem(spec, torch.device("cpu"), torch.float32))
    descent.clear_gradients()
    loss = descent.problem.loss(0)
    loss.backward()  # type: ignore[no-untyped-call]
    buffers = {
        name: weight.clone() for name, weight in descent.weights.items() if "running" in name
    }
    assert buffers
    descent.update(0, loss)
    for name, before in buffers.items():
        assert torch.equal(descent.weights[name], before)


def test_running_statistics_are_averaged_as_weights_are(tmp_path: Path) -> None:
    spec = blobs_job({**MOMENTUM, "wrap": WRAPS["swa"]}, 6, model=AWKWARD)
    descent = OptimizationState(spec, build_problem(spec, torch.device("cpu"), torch.float32))
    name = next(name for name in descent.weights if name.endswith("running_mean"))
    seen = []
    for step in range(6):
        descent.clear_gradients()
        loss = descent.problem.loss(step)
        loss.backward()  # type: ignore[no-untyped-call]
        descent.update(step, loss)
        if step in (2, 4):
            seen.append(descent.weights[name].clone())
    place = list(descent.weights).index(name)
    torch.testing.assert_close(descent.result_weights()[place], torch.stack(seen).mean(0))


def test_an_average_stays_within_bounds(tmp_path: Path) -> None:
    body = {
        "problem": {
            "kind": "function",
            "function": {"kind": "sphere"},
            "start": [2.0, 2.0],
            "bounds": [[1.0, 3.0], [1.0, 3.0]],
        },
        "optimizer": {"kind": "sgd", "lr": 0.9, "wrap": [{"kind": "ema", "decay": 0.5}]},
        "budget": {"max_steps": 5},
    }
    result = train(parse_job(json.dumps(body).encode(), Limits()), tmp_path).ending.result
    assert result["solution"] == [1.0, 1.0]


# --- around every optimizer


def wrapped(kind: str, wrap: str, **more: Any) -> JobSpec:
    optimizer: Json = {"kind": kind, "lr": 0.01, "wrap": WRAPS[wrap]}
    if kind == "lbfgs":
        optimizer |= {"lr": 0.1, "max_iter": 3}
    return parsed(blobs_job(optimizer, model=AWKWARD, **more))


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("kind", members("optimizer"))
def test_around_every_optimizer_a_resumed_run_has_the_same_bits(
    kind: str, wrap: str, tmp_path: Path
) -> None:
    if (kind, wrap) in REFUSED:
        with pytest.raises(InvalidInputError) as caught:
            wrapped(kind, wrap)
        assert all(e.code == "conflict" and kind in e.message for e in caught.value.errors)
        assert {e.param.rsplit(".", 1)[0] for e in caught.value.errors} == {"optimizer.wrap"}
        return
    spec = wrapped(kind, wrap)
    assert not fusable(spec)
    whole = train(spec, tmp_path / "whole")
    parts = interrupted(spec, tmp_path / "parts", 1, 7)
    assert_same(whole, parts)
    if wrap in ("ema", "swa", "all"):
        assert whole.artifacts.read("raw.safetensors") == parts.artifacts.read("raw.safetensors")
    assert np.isfinite(whole.column("loss")).all()


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("action", ["rollback", "skip"])
def test_a_guarded_run_that_is_interrupted_has_the_same_bits(
    action: str, wrap: str, tmp_path: Path
) -> None:
    spec = square(
        {"kind": "sgd", "lr": 0.9, "wrap": WRAPS[wrap]}, 300,
        schedule={"kind": "exponential", "gamma": 1.004},
        on_divergence={"action": action, "lr_factor": 0.5}, stop={"max_loss": 1e3},
    )  # fmt: skip
    whole = train(spec, tmp_path / "whole")
    assert whole.events.interventions or wrap in ("lookahead", "all")
    begun = train(
        spec, tmp_path / "parts", control=StopAt("hand_over", 25 if wrap == "sam" else 61)
    )
    assert begun.ending.reason == "handed_over"
    assert_same(whole, train(spec, tmp_path / "parts", events=begun.events, resume=True))


def test_of_the_raw_weights_no_metric_of_the_average_is_told(tmp_path: Path) -> None:
    saved = train(blobs_job({**MOMENTUM, "wrap": WRAPS["ema"]}), tmp_path).events.checkpoints
    metrics = {each.name: each.metrics for each in saved}
    assert metrics["raw"] == {}
    assert "eval" in metrics["final"]


@pytest.mark.parametrize("wrap", WRAPS)
def test_blocks_change_no_bit(wrap: str, tmp_path: Path) -> None:
    spec = wrapped("adam", wrap)
    one, other = train(spec, tmp_path / "a"), train(spec, tmp_path / "b", block_size=4)
    assert_same(one, other)


# --- what is refused, and written out


def refused(optimizer: Json, **more: Any) -> list[tuple[str, str]]:
    body = {"problem": {"kind": "function", "function": {"kind": "sphere"}},
            "optimizer": optimizer, **more}  # fmt: skip
    with pytest.raises(InvalidInputError) as caught:
        parse_job(json.dumps(body).encode(), Limits())
    return [(error.param, error.code) for error in caught.value.errors]


@pytest.mark.parametrize(
    ("wrap", "more", "errors"),
    [
        ([{"kind": "ema"}, {"kind": "ema"}], {}, [("optimizer.wrap.1.kind", "duplicate")]),
        ([{"kind": "swa", "start": 11}], {}, [("optimizer.wrap.0.start", "less_than_equal")]),
        ([{"kind": "swa"}], {"budget": {"max_seconds": 9.0}},
         [("optimizer.wrap.0.start", "missing")]),
        ([{"kind": "sam"}], {"on_divergence": {"action": "clip"}},
         [("on_divergence.action", "conflict")]),
        ([{"kind": "ema", "decay": 1.0}], {}, [("optimizer.wrap.0.decay", "less_than")]),
        ([{"kind": "lookahead", "alpha": 0.0}], {}, [("optimizer.wrap.0.alpha", "greater_than")]),
        ([{"kind": "sam", "rho": -1.0}], {}, [("optimizer.wrap.0.rho", "greater_than")]),
        ([{"kind": "swag"}], {}, [("optimizer.wrap.0.kind", "unknown_kind")]),
        ([{"kind": "ema", "start": 3}], {}, [("optimizer.wrap.0.start", "unknown_field")]),
        ({"kind": "ema"}, {}, [("optimizer.wrap", "list_type")]),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_by_its_name(
    wrap: Any, more: Json, errors: list[tuple[str, str]]
) -> None:
    options = {"kind": "sgd", "wrap": wrap}
    assert refused(options, **{"budget": {"max_steps": 10}, **more}) == errors


@pytest.mark.parametrize(("steps", "start"), [(1000, 750), (10, 7), (1, 1)])
def test_swa_begins_after_three_quarters_of_the_budget(steps: int, start: int) -> None:
    spec = parsed(blobs_job({**MOMENTUM, "wrap": [{"kind": "swa"}]}, steps))
    assert spec.optimizer.wrap[0].model_dump() == {"kind": "swa", "start": start, "every": 1}
    assert parsed(spec) == spec


def test_a_wrapper_takes_memory_that_is_counted(tmp_path: Path) -> None:
    from core.specs.sizes.cost import estimate

    plain, both = blobs_job(MOMENTUM), blobs_job({**MOMENTUM, "wrap": WRAPS["all"]})
    more = estimate(both).memory_bytes - estimate(plain).memory_bytes
    assert more == 4 * 5 * estimate(plain).num_parameters
