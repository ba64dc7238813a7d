"""Augmentation: each kind beside NumPy or SciPy; the same draws alone, resumed and in stacks."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from core.specs.job import DataProblem, JobSpec
from core.specs.parsing.job import parse_job
from core.specs.validation.limits import Limits
from core.train.data.augment import Augment
from core.train.data.build import build_data
from core.train.determinism import generator
from core.train.problems.supervised import augment_of, build_supervised_problem
from tests.core.train.checkpoint.test_resume import assert_same, interrupted
from tests.core.train.fused.harness import compare_with_alone
from tests.core.train.harness import train

Json = dict[str, Any]
CPU = torch.device("cpu")
ALL: list[Json] = [
    {"kind": "flip"}, {"kind": "crop", "padding": 2}, {"kind": "rotation"}, {"kind": "noise"},
]  # fmt: skip


def job(augment: list[Json], *, standardize: bool = True, **rest: Any) -> JobSpec:
    body = {
        "problem": {
            "kind": rest.pop("kind", "supervised"),
            "data": {"kind": "builtin", "name": "digits", "standardize": standardize,
                     "augment": augment, "eval_fraction": 0.8},
            "model": rest.pop("model", {"kind": "cnn", "channels": [2]}),
        },
        "optimizer": {"kind": "adam", "lr": 0.01}, "precision": "float64", "device": "cpu",
        "batch_size": 16, "budget": {"max_steps": 6}, "record": {"eval_every": None}, **rest,
    }  # fmt: skip
    return parse_job(json.dumps(body).encode(), Limits())


def changed(augment: list[Json], step: int = 3, *, standardize: bool = False) -> tuple[Any, Any]:
    """Rows of digits before and after, as images in their own units."""
    spec = job(augment, standardize=standardize)
    problem = spec.problem
    assert isinstance(problem, DataProblem)
    assert problem.loss is not None
    dataset = build_data(problem, CPU, torch.float64)
    made = augment_of(problem, dataset)
    assert isinstance(made, Augment)
    rows = dataset.train_features[:16]
    found = made.at(rows, 7, step)
    if dataset.mean is None or dataset.scale is None:
        return rows.numpy().reshape(-1, 8, 8), found.numpy().reshape(-1, 8, 8)
    units = [(x.numpy() * dataset.scale + dataset.mean).reshape(-1, 8, 8) for x in (rows, found)]
    return units[0], units[1]


def draws(count: int, step: int = 3) -> Any:
    source = generator(7, "augment", step)
    return torch.rand(count, generator=source, dtype=torch.float64).numpy()


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize(("axis", "place"), [("horizontal", 2), ("vertical", 1)])
def test_a_flip_turns_the_pixels_of_some_rows_round(
    axis: str, place: int, standardize: bool
) -> None:
    before, after = changed([{"kind": "flip", "axis": axis, "p": 0.4}], standardize=standardize)
    turned = draws(16) < 0.4
    assert 0 < turned.sum() < 16
    expected = np.where(turned[:, None, None], np.flip(before, place), before)
    np.testing.assert_allclose(after, expected, atol=1e-12)


def test_a_crop_is_a_window_of_the_padded_image() -> None:
    before, after = changed([{"kind": "crop", "padding": 3}], standardize=True)
    starts = torch.randint(7, (16, 2), generator=generator(7, "augment", 3)).numpy()
    assert len(np.unique(starts)) == 7
    for image, found, (down, right) in zip(before, after, starts, strict=True):
        padded = np.pad(image, 3)
        np.testing.assert_allclose(found, padded[down : down + 8, right : right + 8], atol=1e-12)


def test_a_rotation_is_scipys() -> None:
    before, after = changed([{"kind": "rotation", "degrees": 40.0}])
    angles = np.radians(40.0) * (2 * draws(16) - 1)
    for image, found, angle in zip(before, after, angles, strict=True):
        cos, sin = math.cos(angle), math.sin(angle)
        # Where a place (down, right) of the turned image comes from, about the centre.
        matrix = np.array([[cos, sin], [-sin, cos]])
        centre = np.array([3.5, 3.5])
        expected = ndimage.affine_transform(
            np.pad(image, 2), matrix, offset=centre + 2 - matrix @ centre, order=1,
            output_shape=(8, 8),
        )  # fmt: skip
        np.testing.assert_allclose(found, expected, atol=1e-9)


def test_noise_is_added_to_what_the_model_gets() -> None:
    before, after = changed([{"kind": "noise", "std": 0.5}])
    drawn = torch.randn(16, 64, generator=generator(7, "augment", 3), dtype=torch.float64)
    np.testing.assert_allclose(after - before, 0.5 * drawn.numpy().reshape(-1, 8, 8), atol=1e-12)


def test_each_step_and_seed_has_its_own_draws_and_the_rows_stay() -> None:
    before, one = changed(ALL)
    again, same = changed(ALL)
    _, other = changed(ALL, step=4)
    assert np.array_equal(before, again)
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_evaluations_and_targets_are_not_augmented(tmp_path: Path) -> None:
    noise = [{"kind": "noise", "std": 5.0}]
    model = {"kind": "autoencoder", "hidden": [], "latent": 4}
    spec, plain = (job(each, kind="reconstruction", model=model) for each in (noise, []))
    found = []
    for each in (spec, plain):
        assert isinstance(each.problem, DataProblem)
        problem = build_supervised_problem(
            each.problem, 16, seed=0, device=CPU, dtype=torch.float64, metadata={}
        )
        found.append((problem.evaluate(), problem.batch(2)))
    assert found[0][0] == found[1][0]
    assert torch.equal(found[0][1][1], found[1][1][1])  # the targets
    assert not torch.equal(found[0][1][0], found[1][1][0])
    assert train(spec, tmp_path).column("loss") != train(plain, tmp_path / "plain").column("loss")


def test_runs_in_a_stack_draw_as_the_runs_alone(tmp_path: Path) -> None:
    specs = [
        job(ALL, seed=seed, optimizer={"kind": "adam", "lr": lr}, record={"eval_every": 3})
        for seed, lr in ((0, 0.01), (0, 0.02), (1, 0.01))
    ]
    compare_with_alone(specs, tmp_path)
    full = [job(ALL, seed=seed, batch_size="full", budget={"max_steps": 3}) for seed in (0, 1)]
    compare_with_alone(full, tmp_path / "full")


def test_a_run_that_was_interrupted_draws_on(tmp_path: Path) -> None:
    spec = job(ALL)
    assert_same(train(spec, tmp_path / "whole"), interrupted(spec, tmp_path / "parts", 2, 5))


def test_sequential_rows_of_other_seeds_are_changed_in_other_ways(tmp_path: Path) -> None:
    specs = [job([{"kind": "noise"}], seed=seed, budget={"max_steps": 3}) for seed in (0, 1)]
    data = {"order": {"kind": "sequential"}}
    specs = [
        parse_job(
            json.dumps(
                {**(body := json.loads(spec.model_dump_json())),
                 "problem": {**body["problem"], "data": {**body["problem"]["data"], **data}}}
            ).encode(),
            Limits(),
        )
        for spec in specs
    ]  # fmt: skip
    compare_with_alone(specs, tmp_path)
