"""Remedies: patches that validate, say a number, and (where a run is cheap) keep their word."""

import json
from typing import Any

import numpy as np
import pytest

from core.diagnosis.remedies.patches import scaled_rate
from core.specs.catalog import kinds
from core.specs.job import JobSpec
from core.specs.optimizers.kinds import settled_lr
from core.specs.parsing.remedy import merge
from tests.core.diagnosis.runs import (
    ELLIPSE,
    SADDLE,
    X_SQUARED,
    Columns,
    Floats,
    Json,
    Slope,
    curve,
    diagnosis,
    diagonal,
    digits_job,
    ellipse,
    evaluations,
    function_job,
    gd,
    noise,
    rastrigin,
    resolved,
    saddle,
    sgd,
    x_squared,
)

TEN = np.array([10.0])


def as_json(spec: JobSpec) -> Json:
    body: Json = json.loads(spec.model_dump_json())
    return body


def patched(spec: JobSpec, remedy: Json) -> JobSpec:
    return resolved(merge(as_json(spec), remedy["patch"]))


@pytest.mark.parametrize(
    "schedule",
    [
        {"kind": "constant"},
        {"kind": "one_cycle"},
        {"kind": "cyclic", "base_lr": 0.01, "max_lr": 0.1},
        {"kind": "cosine", "eta_min": 0.001},
        {"kind": "warmup", "steps": 10, "then": {"kind": "cosine", "eta_min": 0.001}},
        {"kind": "reduce_on_plateau", "min_lr": 0.001},
    ],
)
def test_every_rate_of_a_spec_is_scaled_together(schedule: Json) -> None:
    spec = digits_job(gd(0.1, momentum=0.9), schedule=schedule)
    child = patched(spec, {"patch": scaled_rate(spec, 0.1)})
    assert child.optimizer.lr == pytest.approx(0.01)

    def rates(value: Any) -> list[float]:
        if isinstance(value, list):
            return [rate for each in value for rate in rates(each)]
        if not isinstance(value, dict):
            return []
        own = [value[k] for k in ("max_lr", "base_lr", "eta_min", "min_lr") if k in value]
        return own + [rate for each in value.values() for rate in rates(each)]

    before, after = (rates(as_json(each)["schedule"]) for each in (spec, child))
    assert after == pytest.approx([0.1 * rate for rate in before])


def sick_runs() -> dict[str, tuple[JobSpec, Columns, Columns | None]]:
    """One run of every verdict that has remedies, and several ways to get there."""
    steep, lam = np.array([1.0, 1.0]), np.array([1.0, 1e4])
    ill = {"kind": "quadratic", "eigenvalues": [1.0, 1e4]}
    falling = 2.3 * np.exp(-np.arange(2000.0) / 200.0) * np.exp(0.1 * noise(2000))
    flat = 1.0 + 0.3 * noise(1000) ** 2
    flat[:100] += np.linspace(3.0, 0.0, 100)
    rising = evaluations(np.concatenate([[2.3, 0.5], np.linspace(0.5, 1.5, 18)]), 100)
    plateau = curve(2.3 + 0.01 * noise(1000), 0.1, np.where(np.arange(1000) < 5, 2.0, 0.05))
    thrown = curve(np.where(np.arange(500) < 5, 50.0, 2.3 + 0.01 * noise(500)), 1.0, 0.05)
    thrown["loss"][0] = 2.3
    thrown["grad_norm"][:5] = 200.0
    exploding = 2.0 * 3.0 ** np.arange(40.0)
    start = np.array([1.0, 0.0])
    return {
        "x² diverging": (
            function_job(X_SQUARED, TEN, gd(1.1)),
            sgd(x_squared, TEN, 10, 1.1),
            None,
        ),
        "x² oscillating": (
            function_job(X_SQUARED, TEN, gd(0.999)),
            sgd(x_squared, TEN, 100, 0.999),
            None,
        ),
        "x² slow": (
            function_job(X_SQUARED, TEN, gd(0.001)),
            sgd(x_squared, TEN, 100, 0.001),
            None,
        ),
        "ill-conditioned": (
            function_job(ill, steep, gd(1.9e-4)),
            sgd(diagonal(lam), steep, 300, 1.9e-4),
            None,
        ),
        "rastrigin": (
            function_job({"kind": "rastrigin", "dim": 2}, np.array([3.2, -2.1]), gd(0.001)),
            sgd(rastrigin, np.array([3.2, -2.1]), 500, 0.001),
            None,
        ),
        "saddle": (function_job(SADDLE, start, gd(0.1)), sgd(saddle, start, 100, 0.1), None),
        "overfitting": (digits_job({"kind": "adam"}), curve(falling, 0.001, falling), rising),
        "noise": (digits_job(gd(0.1), batch_size=8), curve(flat, 0.1, 2.0), None),
        "plateau": (digits_job(gd(0.1), model={"kind": "mlp", "hidden": [9] * 5}), plateau, None),
        "thrown": (digits_job({"kind": "adam", "lr": 1.0}), thrown, None),
        "slow model": (
            digits_job({"kind": "adam", "lr": 1e-5}),
            curve(2.3 - 0.2 * np.arange(1000.0) / 1000.0, 1e-5, 1.0),
            None,
        ),
        "slow sgd": (digits_job(gd(1e-5)), curve(np.linspace(2.3, 2.2, 500), 1e-5, 2.0), None),
        "diverging model": (digits_job(gd(1.0)), curve(exploding, 1.0, exploding), None),
        "diverging adam": (digits_job({"kind": "adam", "lr": 10.0}), curve(exploding, 10.0), None),
        "one cycle": (
            digits_job(gd(1.0), schedule={"kind": "one_cycle"}),
            curve(exploding, 1.0, exploding),
            None,
        ),
        "no rows": (digits_job(gd(1.0)), curve(np.array([np.nan])), None),
    }


@pytest.mark.parametrize("name", list(sick_runs()))
def test_every_patch_gives_a_spec_that_validates_and_differs(name: str) -> None:
    spec, run, evaluation = sick_runs()[name]
    remedies = diagnosis(spec, run, evaluation)["remedies"]
    assert remedies
    for remedy in remedies:
        assert patched(spec, remedy) != spec
        assert remedy["reason"]
        assert remedy["expected"], remedy
        assert all(isinstance(value, float) for value in remedy["expected"].values())


@pytest.mark.parametrize("name", ["healthy", "converged", "short"])
def test_nothing_is_prescribed_where_nothing_is_wrong(name: str) -> None:
    lr, steps = {"healthy": (0.2, 10), "converged": (0.5, 10), "short": (0.2, 2)}[name]
    found = diagnosis(function_job(X_SQUARED, TEN, gd(lr)), sgd(x_squared, TEN, steps, lr))
    assert found["remedies"] == []


def rerun(spec: JobSpec, slope: Slope, start: Floats, steps: int) -> Columns:
    optimizer: Any = spec.optimizer
    return sgd(slope, start, steps, optimizer.lr, optimizer.momentum, optimizer.nesterov)


QUADRATIC_CASES: list[tuple[Json, Slope, list[float], float, float, int]] = [
    (X_SQUARED, x_squared, [10.0], 1.1, 0.0, 10),
    (X_SQUARED, x_squared, [10.0], 0.999, 0.0, 100),
    (X_SQUARED, x_squared, [10.0], 0.001, 0.0, 100),
    (X_SQUARED, x_squared, [10.0], 0.05, 0.0, 10),
    (ELLIPSE, ellipse, [-5.0, -2.0], 0.6, 0.0, 20),
    (ELLIPSE, ellipse, [-5.0, -2.0], 0.01, 0.0, 100),
    (ELLIPSE, ellipse, [-5.0, -2.0], 1.0, 0.9, 100),
] + [
    (
        {"kind": "quadratic", "eigenvalues": [1.0, 30.0, kappa]},
        diagonal(np.array([1.0, 30.0, kappa])),
        [1.0, -1.0, 1.0],
        rate / kappa,
        beta,
        300,
    )
    for kappa in (1e2, 1e4, 1e6)
    for rate, beta in ((2.1, 0.0), (4.0, 0.9), (0.01, 0.0), (0.005, 0.9), (1.9, 0.0))
]


@pytest.mark.parametrize("case", range(len(QUADRATIC_CASES)))
def test_on_quadratics_every_remedy_keeps_its_predicted_loss(case: int) -> None:
    function, slope, point, lr, beta, steps = QUADRATIC_CASES[case]
    start = np.array(point)
    spec = function_job(function, start, gd(lr, momentum=beta))
    run = sgd(slope, start, steps, lr, beta)
    found = diagnosis(spec, run)
    if found["verdict"] in ("healthy", "converged"):
        return
    assert found["remedies"]
    end = run["loss"][-1] if np.isfinite(run["loss"][-1]) else np.inf
    for remedy in found["remedies"]:
        after = rerun(patched(spec, remedy), slope, start, steps)["loss"][-1]
        assert after < 0.81 * end
        # As many steps as the run had: after its last row there is no update any more.
        assert after == pytest.approx(remedy["expected"]["final_loss"], rel=1e-6, abs=1e-12)


@pytest.mark.parametrize(("lr", "steps"), [(2.0, 40), (0.999, 200)])
def test_the_curvature_that_a_run_shows_gives_a_rate_that_works(lr: float, steps: int) -> None:
    # A supervised full-batch run, in truth ½·xᵀAx with λ = 2 and 0.1, known by loss and norm only.
    lam, start = np.array([2.0, 0.1]), np.array([3.0, 1.0])
    run = sgd(diagonal(lam), start, steps, lr)
    job = digits_job(gd(lr), batch_size="full", model={"kind": "linear"}, data="diabetes")
    found = diagnosis(job, {name: run[name] for name in ("step", "loss", "lr", "grad_norm")})
    assert found["verdict"] in ("diverging", "oscillating")
    remedy = found["remedies"][0]
    assert remedy["expected"]["stable_below"] == pytest.approx(1.0, rel=0.01)  # 2/λ_max
    child = patched(job, remedy)
    assert rerun(child, diagonal(lam), start, steps)["loss"][-1] < 0.1 * run["loss"][0]


def test_out_of_a_local_minimum_the_new_start_leads_lower() -> None:
    spec, run, _ = sick_runs()["rastrigin"]
    remedy = diagnosis(spec, run)["remedies"][0]
    child = patched(spec, remedy)
    point = np.array(child.problem.start)  # type: ignore[union-attr]
    after = sgd(rastrigin, point, 500, 0.001)["loss"]
    assert after[0] == pytest.approx(remedy["expected"]["first_loss"], rel=1e-4)
    assert after[-1] < run["loss"][-1]


def test_off_the_saddle_the_new_start_leads_to_a_minimum() -> None:
    spec, run, _ = sick_runs()["saddle"]
    child = patched(spec, diagnosis(spec, run)["remedies"][0])
    start = child.problem.start  # type: ignore[union-attr]
    after = sgd(saddle, np.array([start["x1"], start["x2"]]), 100, 0.1)  # type: ignore[index, call-overload]
    assert after["loss"][-1] == pytest.approx(-0.25)


def test_overfitting_is_ended_where_the_evaluation_was_best() -> None:
    spec, run, evaluation = sick_runs()["overfitting"]
    remedy = diagnosis(spec, run, evaluation)["remedies"][0]
    assert remedy["patch"] == {"budget": {"max_steps": 100}}
    assert remedy["expected"] == {"eval_loss": 0.5}


SICK = sick_runs()


def of_kind(spec: JobSpec, kind: str) -> JobSpec:
    """The same job with another optimizer, at the rate it had."""
    body = as_json(spec)
    body["optimizer"] = {"kind": kind, "lr": body["optimizer"]["lr"]}
    if "cycle_momentum" in body["schedule"]:
        body["schedule"]["cycle_momentum"] = None
    return resolved(body)


@pytest.mark.parametrize("kind", sorted(kinds("optimizers")))
@pytest.mark.parametrize("name", sorted(SICK))
def test_remedies_speak_of_the_optimizer_at_hand(name: str, kind: str) -> None:
    """Every patch makes a valid spec that differs, names no field that the optimizer lacks, and
    no rate or schedule that its method has no use for."""
    spec, run, evaluation = SICK[name]
    spec = of_kind(spec, kind)
    found = diagnosis(spec, run, evaluation)
    for remedy in found["remedies"]:
        child = patched(spec, remedy)
        assert child != spec, remedy
        patch = remedy["patch"]
        own = patch.get("optimizer", {})
        if "kind" not in own:
            assert set(own) <= set(type(spec.optimizer).model_fields), remedy
        if kind in ("schedule_free_sgd", "schedule_free_adamw", "rprop") and "kind" not in own:
            assert patch.get("schedule", {}).get("kind") != "cosine", remedy
        if kind == "rprop" and own.get("lr", 1e9) < settled_lr(spec.optimizer):
            assert own["step_sizes"][1] < 50.0, remedy
    (step,) = [each for each in found["findings"] if each["rule"] == "unstable_step"]
    if kind != "sgd":
        assert step["status"] == "undetermined"
        assert kind in step["explanation"] or "no rows" in step["explanation"]
    if kind in ("lion", "rprop"):  # they have no sizes of gradients to divide by
        assert "divides" not in step["explanation"]


def test_lbfgs_that_diverges_is_given_a_line_search_first() -> None:
    spec, run, _ = sick_runs()["x² diverging"]
    first, *_ = diagnosis(of_kind(spec, "lbfgs"), run)["remedies"]
    assert first["patch"] == {"optimizer": {"line_search_fn": "strong_wolfe"}}


@pytest.mark.parametrize("kind", ["lbfgs", "rprop"])
def test_a_method_of_full_batches_is_given_all_rows(kind: str) -> None:
    spec, run, _ = sick_runs()["noise"]
    found = diagnosis(of_kind(spec, kind), run)
    assert found["verdict"] == "noise_limited"
    assert found["remedies"][0]["patch"] == {"batch_size": "full"}
