"""Micro batches and bfloat16: what the whole batch and torch's autocast give, with every optimizer
and layer; clipping by parameter and by unit with every optimizer."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.errors import InvalidInputError
from core.specs.catalog import kinds
from core.specs.examples import minimal_example
from core.specs.job import JobSpec
from core.specs.parsing.job import parse_job
from core.specs.sizes.cost import estimate, memory_parts, num_threads
from core.specs.sizes.extent import extent_of
from core.specs.sizes.fusing import fusable
from core.specs.unions import members
from core.specs.validation.limits import Limits
from core.train.checkpoint.snapshot import fingerprint
from core.train.problems.build import build_problem
from tests.core.train.checkpoint.test_resume import assert_same, interrupted
from tests.core.train.harness import StopAt, blobs_job, train

Json = dict[str, Any]
DROPS: Json = {"kind": "mlp", "hidden": [6, 5], "dropout": 0.3}
OPTIONS: dict[str, Json] = {
    "accumulate": {"accumulate": 4},
    "bfloat16": {"precision": "bfloat16"},
    "both": {"accumulate": 2, "precision": "bfloat16"},
    "per_parameter": {"gradient_clip": {"kind": "per_parameter", "max_norm": 0.1}},
    "adaptive": {"gradient_clip": {"kind": "adaptive", "clipping": 0.05}},
}
NOT_LBFGS = {"accumulate", "bfloat16", "both"}


def job(optimizer: Json | None = None, steps: int = 12, **more: Any) -> JobSpec:
    body = json.loads(blobs_job(optimizer, steps, model=DROPS).model_dump_json()) | more
    return parse_job(json.dumps(body).encode(), Limits())


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("kind", members("optimizer"))
def test_with_every_optimizer_a_resumed_run_has_the_same_bits(
    kind: str, option: str, tmp_path: Path
) -> None:
    optimizer = {"kind": kind, "lr": 0.01}
    if kind == "lbfgs" and option in NOT_LBFGS:
        with pytest.raises(InvalidInputError) as caught:
            job(optimizer, **OPTIONS[option])
        assert {e.param for e in caught.value.errors} <= {"accumulate", "precision"}
        assert all("lbfgs" in e.message for e in caught.value.errors)
        return
    spec = job(optimizer, **OPTIONS[option])
    assert not fusable(spec)
    whole = train(spec, tmp_path / "whole")
    assert_same(whole, interrupted(spec, tmp_path / "parts", 1, 7))
    assert np.isfinite(whole.column("loss")).all()
    assert all(values.dtype == np.float32 for values in whole.weights().values())


@pytest.mark.parametrize("count", [2, 4, 8])
@pytest.mark.parametrize("seed", [0, 3])
def test_micro_batches_give_what_the_whole_batch_gives(
    count: int, seed: int, tmp_path: Path
) -> None:
    momentum = {"kind": "sgd", "lr": 0.1, "momentum": 0.9}
    more: Json = {"precision": "float64", "seed": seed}
    whole = train(job(momentum, **more), tmp_path / "whole")
    parts = train(job(momentum, accumulate=count, **more), tmp_path / "parts")
    # 36 training rows in batches of 8: the last one of an epoch has 4.
    for name in ("loss", "grad_norm"):
        assert parts.column(name) == pytest.approx(whole.column(name), rel=1e-12)
    for name, values in whole.weights().items():
        np.testing.assert_allclose(parts.weights()[name], values, rtol=1e-10, atol=1e-13)


def test_a_batch_of_fewer_rows_than_parts_is_cut_into_rows(tmp_path: Path) -> None:
    more: Json = {"precision": "float64", "batch_size": 7}
    whole = train(job(**more), tmp_path / "whole")  # the sixth batch has one row
    parts = train(job(accumulate=7, **more), tmp_path / "parts")
    assert parts.column("loss") == pytest.approx(whole.column("loss"), rel=1e-12)


def test_micro_batches_take_less_memory_by_the_estimate() -> None:
    body = minimal_example("optimizers", "sgd")
    body["problem"]["data"] = {"kind": "builtin", "name": "digits", "eval_fraction": 0.01}
    body |= {"batch_size": 1024, "precision": "float32"}
    parts = []
    for count in (1, 16):
        spec = parse_job(json.dumps({**body, "accumulate": count}).encode(), Limits())
        parts.append(memory_parts(spec, extent_of(spec), 100))
        assert estimate(spec).memory_bytes == sum(parts[-1].values())
    assert parts[1]["batch_size"] <= parts[0]["batch_size"] / 15


def test_bfloat16_is_torchs_autocast(tmp_path: Path) -> None:
    momentum = {"kind": "sgd", "lr": 0.1, "momentum": 0.9}
    body = json.loads(blobs_job(momentum).model_dump_json()) | {"precision": "bfloat16"}
    spec = parse_job(json.dumps(body).encode(), Limits())
    plain = spec.model_copy(update={"precision": "float32"})
    problem = build_problem(plain, torch.device("cpu"), torch.float32)
    model, batches = problem._model, problem._batches  # type: ignore[attr-defined]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    losses = []
    for step in range(12):
        features, targets = batches.at(step)
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            outputs = model(features)
        assert outputs.dtype == torch.bfloat16
        loss = torch.nn.functional.cross_entropy(outputs.float(), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        losses.append(loss.item())
        optimizer.step()
    trained = train(spec, tmp_path)
    assert trained.column("loss") == losses
    assert train(plain, tmp_path / "plain").column("loss") != losses


@pytest.mark.parametrize("kind", kinds("layers"))
def test_every_layer_computes_in_bfloat16(kind: str, tmp_path: Path) -> None:
    body = minimal_example("layers", kind) | {
        "precision": "bfloat16",
        "budget": {"max_steps": 3},
        "record": {"eval_every": 1},
    }
    trained = train(parse_job(json.dumps(body).encode(), Limits()), tmp_path)
    assert np.isfinite(trained.column("loss")).all()
    assert np.isfinite(trained.column("loss", "eval")).all()


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"accumulate": 3}, ("accumulate", "not_divisible")),
        ({"accumulate": 16}, ("accumulate", "not_divisible")),
        ({"accumulate": 0}, ("accumulate", "greater_than_equal")),
        ({"accumulate": 2.5}, ("accumulate", "int_type")),
        ({"accumulate": 5, "batch_size": "full"}, ("accumulate", "not_divisible")),
        ({"precision": "float16"}, ("precision", "unknown_value")),
    ],
)
def test_what_cannot_work_is_refused_by_its_name(more: Json, error: tuple[str, str]) -> None:
    with pytest.raises(InvalidInputError) as caught:
        job(None, **more)
    assert [(e.param, e.code) for e in caught.value.errors] == [error]


@pytest.mark.parametrize(
    "model",
    [
        {"kind": "mlp", "hidden": [6], "norm": "batch"},
        {"kind": "layers", "layers": [
            {"kind": "unflatten", "unflattened_size": [4, 1]},
            {"kind": "gru", "hidden_size": 3, "num_layers": 2, "dropout": 0.5},
            {"kind": "flatten"}, {"kind": "linear"},
        ]},
    ],
)  # fmt: skip
def test_what_needs_all_rows_at_once_refuses_micro_batches(model: Json) -> None:
    body = json.loads(blobs_job().model_dump_json())
    body["problem"]["model"] = model
    with pytest.raises(InvalidInputError) as caught:
        parse_job(json.dumps({**body, "accumulate": 2}).encode(), Limits())
    assert [(e.param, e.code) for e in caught.value.errors] == [("accumulate", "conflict")]


@pytest.mark.parametrize("field", [{"accumulate": 2}, {"precision": "bfloat16"}])
def test_a_function_has_neither(field: Json) -> None:
    body = {
        "problem": {"kind": "function", "function": {"kind": "sphere"}},
        "optimizer": {"kind": "sgd"},
    }
    with pytest.raises(InvalidInputError) as caught:
        parse_job(json.dumps({**body, **field}).encode(), Limits())
    assert [e.param for e in caught.value.errors] == list(field)


# --- threads


@pytest.mark.parametrize(("width", "threads"), [(8, 1), (4096, 2)])
def test_the_threads_that_follow_from_the_sizes_are_written_out(width: int, threads: int) -> None:
    body = minimal_example("optimizers", "sgd")
    body["problem"]["data"] = {"kind": "builtin", "name": "digits"}
    body["problem"]["model"]["hidden"] = [width]
    body |= {"batch_size": 1024}
    spec = parse_job(json.dumps(body).encode(), Limits())
    assert spec.threads == threads
    problem = build_problem(spec, torch.device("cpu"), torch.float32)
    assert num_threads(problem.multiply_adds) == threads
    assert parse_job(spec.model_dump_json().encode(), Limits()) == spec
    assert fusable(spec)


@pytest.mark.parametrize("family", ["functions", "models", "datasets"])
def test_what_a_problem_takes_is_known_without_it(family: str) -> None:
    for kind in kinds(family):
        if kind == "dataset":  # its rows would have to be uploaded
            continue
        spec = parse_job(json.dumps(minimal_example(family, kind)).encode(), Limits())
        assert spec.threads == 1
        problem = build_problem(spec, torch.device("cpu"), torch.float64)
        assert num_threads(problem.multiply_adds) == 1


def test_other_threads_than_those_train_alone_and_are_used(tmp_path: Path) -> None:
    spec = job(threads=2)
    assert not fusable(spec)
    assert fusable(job(threads=1))
    seen: list[int] = []

    class Looks(StopAt):
        @property
        def stop_requested(self) -> Any:
            seen.append(torch.get_num_threads())
            return super().stop_requested

    before = torch.get_num_threads()
    train(spec, tmp_path, control=Looks())
    assert set(seen) == {2}
    assert torch.get_num_threads() == before


def test_a_run_from_before_threads_were_in_the_spec_is_the_same_run() -> None:
    spec = job()
    assert fingerprint(spec) == fingerprint(spec.model_copy(update={"threads": None}))
    assert fingerprint(spec) != fingerprint(spec.model_copy(update={"threads": 2}))


@pytest.mark.parametrize("threads", [0, 65, 1.5, "auto"])
def test_a_number_of_threads_is_a_small_one(threads: Any) -> None:
    with pytest.raises(InvalidInputError) as caught:
        job(threads=threads)
    assert [e.param for e in caught.value.errors] == ["threads"]
