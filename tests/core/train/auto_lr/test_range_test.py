"""The range test and the curvature bound, against recursions and closed forms."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

from core.settings import Settings
from core.specs.job import JobSpec
from core.specs.parsing.job import parse_job
from core.specs.validation.auto_lr import settled
from core.specs.validation.limits import Limits
from core.train.auto_lr.bound import PRODUCTS, curvature_bound
from core.train.auto_lr.range_test import (
    Divergence,
    RangeTest,
    probe_seed,
    range_test,
    read,
    smooth,
)
from core.train.devices import exact_kernels
from tests.core.train.harness import train

Json = dict[str, Any]
CPU = torch.device("cpu")
LIMITS = Limits.of(Settings())


@pytest.fixture(autouse=True)
def the_settings_of_torch_come_back() -> Iterator[None]:
    """The test's own parts set threads and kernels for a process; others share this one."""
    with exact_kernels():
        yield


class Going:
    """Asks to stop at the read after `reads`; None: never."""

    dropped: tuple[int, ...] = ()

    def __init__(self, reads: int | None = None) -> None:
        self._left = reads

    @property
    def stop_requested(self) -> Literal["cancel", "hand_over"] | None:
        if self._left is None:
            return None
        self._left -= 1
        return "cancel" if self._left < 0 else None


def job(problem: Json, optimizer: Json, **rest: Any) -> JobSpec:
    body = {"problem": problem, "optimizer": {"lr": "auto", **optimizer}, "device": "cpu", **rest}
    return parse_job(json.dumps(body).encode(), LIMITS)


def quadratic(eigenvalues: list[float], start: list[float]) -> Json:
    function = {"kind": "quadratic", "eigenvalues": eigenvalues}
    return {"kind": "function", "function": function, "start": start}


def digits(**model: Any) -> Json:
    return {
        "kind": "supervised",
        "data": {"kind": "builtin", "name": "digits"},
        "model": {"kind": "mlp", "hidden": [16], **model},
    }


def seen(spec: JobSpec, limit: float | None = None) -> RangeTest:
    found = range_test(spec, CPU, Going(), limit)
    assert found is not None
    return found


# --- the bound


@pytest.mark.parametrize(
    ("optimizer", "limit"),
    [
        ({}, 2 / 8),
        ({"momentum": 0.9}, 3.8 / 8),
        ({"momentum": 0.9, "nesterov": True}, 3.8 / (2.8 * 8)),
        ({"momentum": 0.5, "dampening": 0.5}, 3.0 / 0.5 / 8),
        ({"weight_decay": 2.0}, 2 / 10),
    ],
    ids=["gradient_descent", "heavy_ball", "nesterov", "dampened", "decayed"],
)
def test_the_bound_is_the_methods_threshold_over_the_largest_curvature(
    optimizer: Json, limit: float
) -> None:
    spec = job(quadratic([0.5, 8.0], [1.0, 1.0]), {"kind": "sgd", **optimizer})
    found = curvature_bound(spec, CPU, Going())
    assert found.limit == pytest.approx(limit, rel=1e-12)
    assert found.curvature == pytest.approx(8.0, rel=1e-12)
    assert found.accuracy is not None
    assert found.accuracy < 1e-12
    assert found.reason is None


def test_a_networks_curvature_is_known_to_its_accuracy_from_few_products() -> None:
    found = curvature_bound(job(digits(), {"kind": "sgd"}), CPU, Going())
    assert found.curvature is not None
    assert found.accuracy is not None
    assert found.limit == 2.0 / found.curvature
    assert found.accuracy < 0.01 * found.curvature
    assert found.products <= PRODUCTS


@pytest.mark.parametrize(
    "kind", ["adam", "adamw", "rmsprop", "adagrad", "adadelta", "asgd", "muon"]
)
def test_methods_without_a_sharp_threshold_have_no_bound_and_say_so(kind: str) -> None:
    found = curvature_bound(job(quadratic([1.0], [1.0]), {"kind": kind}), CPU, Going())
    assert (found.limit, found.products) == (None, 0)
    assert found.reason is not None
    assert kind in found.reason


def test_where_the_function_bends_downwards_there_is_no_bound() -> None:
    found = curvature_bound(job(quadratic([-3.0, -1.0], [1.0, 1.0]), {"kind": "sgd"}), CPU, Going())
    assert found.limit is None
    assert found.curvature == pytest.approx(-1.0)
    assert found.reason == "the curvature at the first weights is not positive"


def test_a_maximized_function_is_measured_upside_down() -> None:
    spec = job(quadratic([-4.0, -1.0], [1.0, 1.0]), {"kind": "sgd", "maximize": True})
    assert curvature_bound(spec, CPU, Going()).limit == pytest.approx(0.5)


# --- the range test


def test_a_range_test_of_gradient_descent_is_its_recursion_at_growing_rates() -> None:
    found = seen(job(quadratic([2.0], [10.0]), {"kind": "sgd"}), limit=1.0)
    x, losses = 10.0, []
    for rate in found.rates:
        losses.append(x * x)
        x -= rate * 2.0 * x
    assert found.losses == pytest.approx(losses, rel=1e-9)
    assert found.rates[0] == pytest.approx(1e-6)
    assert found.rates[15] / found.rates[0] == pytest.approx(10.0)
    assert found.diverged
    assert found.losses[-1] > 4 * found.losses[0] > found.losses[-2]
    assert found.minimum == found.rates[int(np.argmin(losses))]
    assert found.minimum is not None
    assert found.suggestion == found.minimum / 10
    assert 1.0 <= found.minimum < 2.0


def test_without_a_bound_the_rates_end_where_a_step_is_ten_times_the_point() -> None:
    found = seen(job(quadratic([1.0], [50.0]), {"kind": "adam"}))
    # Adam's first update is as long as its rate.
    assert found.rates[0] == pytest.approx(5e-6, rel=1e-3)
    assert found.rates[-1] <= 500.0 * 1.001


def test_the_scale_of_a_function_changes_the_suggestion_in_proportion() -> None:
    small, large = (
        seen(job(quadratic([1.0, 3.0], [scale, scale]), {"kind": "adam"})) for scale in (3.0, 3e3)
    )
    assert small.suggestion is not None
    assert large.suggestion is not None
    assert large.suggestion / small.suggestion == pytest.approx(1000.0, rel=0.2)


def test_it_starts_at_the_jobs_own_weights(tmp_path: Path) -> None:
    spec = job(digits(), {"kind": "sgd"}, batch_size="full", budget={"max_steps": 1})
    row = train(settled(spec, 0.1), tmp_path).column("loss")[0]
    assert seen(spec, limit=0.5).losses[0] == row


def test_its_batches_come_in_an_order_of_their_own(tmp_path: Path) -> None:
    spec = job(digits(), {"kind": "sgd"}, budget={"max_steps": 1})
    row = train(settled(spec, 0.1), tmp_path).column("loss")[0]
    first = seen(spec, limit=0.5).losses[0]
    assert first != row
    assert first == pytest.approx(row, rel=0.3)
    assert len({spec.seed, probe_seed(spec, 0), probe_seed(spec, 1)}) == 3


def test_it_is_the_same_to_the_bit_each_time() -> None:
    spec = job(digits(dropout=0.2, norm={"kind": "batch"}), {"kind": "adam"})
    first, again = seen(spec), seen(spec)
    assert first.losses.tolist() == again.losses.tolist()
    assert first.minimum == again.minimum


@pytest.mark.parametrize("reads", [0, 1, 40])
def test_asked_to_stop_it_says_nothing(reads: int) -> None:
    spec = job(quadratic([1.0], [1.0]), {"kind": "adam"})
    assert range_test(spec, CPU, Going(reads), None) is None


def test_at_a_stationary_point_there_is_nothing_to_find() -> None:
    found = seen(job(quadratic([1.0, 2.0], [0.0, 0.0]), {"kind": "sgd"}), limit=1.0)
    assert not found.moves
    assert found.suggestion is None
    assert found.reason is not None


# --- reading the losses


RATES = 1e-6 * np.logspace(0, 7, 106)


def test_the_minimum_of_noisy_losses_is_near_that_of_the_curve_below() -> None:
    place = np.arange(RATES.size)
    curve = 1.0 + 0.02 * np.abs(place - 80)
    noise = 0.1 * np.random.default_rng(0).standard_normal(RATES.size)
    found = read(RATES, curve + noise, noisy=True, diverged=False)
    assert found.minimum is not None
    assert abs(math.log10(found.minimum / RATES[80])) < 1 / 3


def test_a_loss_that_blows_up_does_not_move_the_minimum_before_it() -> None:
    falling = np.linspace(100.0, 1.0, 90)
    tame, wild = (
        read(RATES[:92], np.append(falling, [high, high]), noisy=True, diverged=True)
        for high in (100.0, 1e12)
    )
    assert tame.minimum == wild.minimum


def test_noise_alone_has_no_minimum() -> None:
    losses = 2.0 + 0.1 * np.sin(np.arange(60) * 2.4)
    found = read(RATES[:60], losses, noisy=True, diverged=False)
    assert found.minimum is None
    assert found.reason == "the loss fell at no rate"


def test_smoothing_looks_to_both_sides_alike() -> None:
    spike = np.zeros(41)
    spike[20] = 1.0
    smoothed = smooth(spike, 4.0)
    assert smoothed == pytest.approx(smoothed[::-1])
    assert smoothed[24] / smoothed[20] == pytest.approx(math.exp(-0.5), rel=1e-4)
    assert smooth(np.full(30, 2.5), 4.0) == pytest.approx(2.5)


def test_a_swing_to_many_times_the_best_loss_is_no_divergence() -> None:
    watch = Divergence(noisy=False)
    assert not any(watch.shows(loss) for loss in [100.0, 1.0, 12.0, 0.1, 399.0])
    assert watch.shows(401.0)


def test_one_bad_batch_is_no_divergence_but_a_number_that_is_none_is() -> None:
    watch = Divergence(noisy=True)
    assert not any(watch.shows(loss) for loss in [2.0, 2.0, 2.0, 12.0, 2.0])
    assert watch.shows(math.inf)
    assert Divergence(noisy=True).shows(math.nan)
