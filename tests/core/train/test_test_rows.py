"""The test: the final and the best weights on rows that nothing else looks at, measured once, at
the end, and the same numbers that scikit-learn gives for these weights and rows."""

import json
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    log_loss,
    mean_squared_error,
)

from core.specs.job import JobSpec
from core.specs.parsing.job import parse_job
from core.specs.splits.rows import PARTS
from core.specs.validation.limits import Limits
from core.train.data.build import load
from core.train.data.dataset import Dataset
from tests.core.train.fused.harness import train_population
from tests.core.train.harness import Received, StopAt, Trained, train

Json = dict[str, Any]
Weights = dict[str, NDArray[Any]]
SPLIT: Final[Json] = {"kind": "fraction", "eval": 0.2, "test": 0.3}
FAST: Final[Json] = {"kind": "adam", "lr": 0.05}


def job(optimizer: Json = FAST, steps: int = 30, *, values: bool = False, **rest: Any) -> JobSpec:
    """A softmax of three clusters, or a line through values; float64."""
    kind = "friedman1" if values else "blobs"
    generator: Json = {"kind": kind, "num_samples": 90}
    if not values:
        generator |= {"num_features": 4, "std": 6.0}
    data = {"kind": "synthetic", "generator": generator, "split": rest.pop("split", SPLIT)}
    model = rest.pop("model", {"kind": "linear"})
    body = {
        "problem": {"kind": "supervised", "data": data, "model": model},
        "optimizer": optimizer,
        "batch_size": 16,
        "precision": "float64",
        "device": "cpu",
        "budget": {"max_steps": steps},
        "record": {"eval_every": 4},
        **rest,
    }
    return parse_job(json.dumps(body).encode(), Limits())


def rows(spec: JobSpec) -> Dataset:
    problem: Any = spec.problem
    form: Any = "values" if problem.loss.kind == "mse" else "class_ids"
    return load(problem.data, form, torch.device("cpu"), torch.float64)


def measured(spec: JobSpec, weights: Weights, step: int) -> Json:
    """The metrics of linear weights on the rows of the test, by scikit-learn."""
    found = rows(spec).rows("test")
    assert found is not None
    features, targets = found[0].numpy(), found[1].numpy()
    outputs = features @ weights["output.weight"].T + weights["output.bias"]
    if targets.ndim == 2:
        loss = mean_squared_error(targets, outputs)
        return {"step": step, "loss": loss, "rmse": loss**0.5}
    likely = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    likely /= likely.sum(axis=1, keepdims=True)
    return {
        "step": step,
        "loss": log_loss(targets, likely, labels=[0, 1, 2]),
        "accuracy": accuracy_score(targets, outputs.argmax(axis=1)),
    }


def assert_is_the_test_of(done: Trained, spec: JobSpec) -> None:
    found = done.ending.result["test"]
    final = measured(spec, done.weights("final"), done.ending.result["num_steps"])
    assert found["final"] == pytest.approx(final, rel=1e-12)
    assert done.ending.best is not None
    best = measured(spec, done.weights("best"), done.ending.best["step"])
    assert found["best"] == pytest.approx(best, rel=1e-12)


SPECS: Final[dict[str, JobSpec]] = {
    "classes": job(),
    "values": job(values=True),
    "the last is the best": job({"kind": "sgd", "lr": 0.01}),
    "the last is not the best": job({"kind": "adam", "lr": 1.0}),
    "without evaluation": job(split={"kind": "fraction", "eval": 0.0, "test": 0.3}),
    "tail": job(split={"kind": "tail", "eval": 0.2, "test": 0.4}),
    "averaged": job({**FAST, "wrap": [{"kind": "ema", "decay": 0.8}]}),
    "schedule-free": job({"kind": "schedule_free_sgd", "lr": 0.5}),
    "ended by a target": job(stop={"target_loss": 0.9}),
    "steps that roll back": job(on_divergence={"action": "rollback"}),
}


@pytest.mark.parametrize("name", SPECS)
def test_final_and_best_weights_are_measured_on_the_rows_of_the_test(
    name: str, tmp_path: Path
) -> None:
    spec = SPECS[name]
    done = train(spec, tmp_path)
    assert_is_the_test_of(done, spec)
    counts = {part: 0 if (x := rows(spec).rows(part)) is None else len(x[0]) for part in PARTS}
    assert done.events.data is not None
    assert done.events.data["num_rows"] == counts


def test_a_cancelled_run_is_measured_where_it_stands(tmp_path: Path) -> None:
    done = train(job(), tmp_path, control=StopAt("cancel", 7))
    assert done.ending.reason == "cancelled"
    assert done.ending.result["num_steps"] == 7
    assert_is_the_test_of(done, job())


def test_a_run_that_is_handed_over_is_measured_at_its_end_alone(tmp_path: Path) -> None:
    spec, whole = job(), train(job(), tmp_path / "whole")
    part = train(spec, tmp_path / "parts", control=StopAt("hand_over", 13))
    assert part.ending.result["test"] is None
    rest = train(spec, tmp_path / "parts", resume=True)
    assert rest.ending.result["test"] == whole.ending.result["test"]
    assert rest.ending.result["num_steps"] == 30


def test_without_rows_for_it_there_is_no_test(tmp_path: Path) -> None:
    for split in ({"kind": "fraction"}, {"kind": "folds"}):
        assert train(job(split=split), tmp_path).ending.result["test"] is None


def test_weights_that_are_no_numbers_are_measured_too(tmp_path: Path) -> None:
    spec = job({"kind": "sgd", "lr": 1e308}, split={"kind": "tail", "eval": 0.0, "test": 0.2})
    done = train(spec, tmp_path)
    assert done.ending.outcome == "diverged"
    found = done.ending.result["test"]
    assert not np.isfinite(found["final"]["loss"])
    assert np.isfinite(found["best"]["loss"])
    assert found["best"]["step"] == 0


def test_measuring_changes_no_weight(tmp_path: Path) -> None:
    """The checkpoint that goes on, and the file of the weights, are what they are without it."""
    model = {"kind": "mlp", "hidden": [6], "norm": "batch"}
    fast = {"kind": "adam", "lr": 0.5}
    short, long = job(fast, 20, model=model), job(fast, 30, model=model)
    done = train(short, tmp_path)
    assert done.ending.result["test"]["best"]["step"] != 20
    on = train(long, tmp_path, resume=True)
    whole = train(long, tmp_path / "whole")
    for name, weight in whole.weights().items():
        assert np.array_equal(weight, on.weights()[name])
    assert on.ending.result["test"] == whole.ending.result["test"]


class _Watching(Received):
    """Keeps every event as it comes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def emit(self, event: Any) -> None:
        self.seen.append(event)
        super().emit(event)


def test_nothing_tells_of_the_test_before_the_end(tmp_path: Path) -> None:
    """Two runs that differ by the rows of the test alone tell the same until their results."""
    tests, told = [], []
    for odd in (0.5, 50.0):
        features = [*np.linspace(-1, 1, 21).tolist(), odd, odd, odd]
        data = {
            "kind": "inline",
            "features": [[x] for x in features],
            "targets": [3 * x for x in features[:21]] + [1.5] * 3,
            "split": {"kind": "tail", "eval": 0.25, "test": 0.125},
        }
        problem = {"kind": "supervised", "data": data, "model": {"kind": "linear"}}
        body = {"problem": problem, "optimizer": FAST, "budget": {"max_steps": 12}}
        spec = parse_job(json.dumps(body).encode(), Limits())
        events = _Watching()
        done = train(spec, tmp_path / str(odd), events=events, clock=lambda: 0.0)
        tests.append(done.ending.result.pop("test"))
        told.append((events.histories, events.progressed, events.data, done.ending))
        assert all(
            is_dataclass(event) and not isinstance(event, type) and "test" not in asdict(event)
            for event in events.seen
        )
    assert tests[0] != tests[1]
    assert told[0] == told[1]


@pytest.mark.parametrize("values", [False, True], ids=["classes", "values"])
def test_runs_of_a_stack_are_measured_as_each_alone(values: bool, tmp_path: Path) -> None:
    rates = [0.003, 0.05, 0.2, 1.0]
    model = {"kind": "mlp", "hidden": [5]}
    specs = [
        job({"kind": "adam", "lr": rate}, 20 + 2 * at, values=values, model=model)
        for at, rate in enumerate(rates)
    ]
    found = train_population(specs)
    for number, spec in enumerate(specs):
        ending = found.endings[number]
        assert ending.fused
        alone = train(spec, tmp_path / str(number)).ending
        for which in ("best", "final"):
            ours, theirs = ending.ending.result["test"][which], alone.result["test"][which]
            assert ours == pytest.approx(theirs, rel=1e-9)


def test_the_test_has_the_metrics_that_were_asked_for(tmp_path: Path) -> None:
    record = {"eval_every": 4, "metrics": ["confusion_matrix", "balanced_accuracy"]}
    specs = [job({"kind": "adam", "lr": rate}, record=record) for rate in (0.05, 1.0)]
    found = train_population(specs)
    for number, spec in enumerate(specs):
        done = train(spec, tmp_path / str(number))
        held = rows(spec).rows("test")
        assert held is not None
        for which in ("best", "final"):
            weights = done.weights(which)
            outputs = held[0].numpy() @ weights["output.weight"].T + weights["output.bias"]
            chosen, targets = outputs.argmax(axis=1), held[1].numpy()
            shown = done.ending.result["test"][which]
            expected = confusion_matrix(targets, chosen, labels=[0, 1, 2])
            assert shown["confusion_matrix"] == expected.tolist()
            balanced = balanced_accuracy_score(targets, chosen)
            assert shown["balanced_accuracy"] == pytest.approx(balanced)
            ours = found.endings[number].ending.result["test"][which]
            assert ours["confusion_matrix"] == shown["confusion_matrix"]
            assert ours["balanced_accuracy"] == pytest.approx(balanced)


def test_a_stack_that_is_cancelled_is_measured_too() -> None:
    from tests.core.train.fused.harness import Control

    found = train_population([job(), job()], control=Control("cancel"))
    for ending in found.endings.values():
        assert ending.ending.reason == "cancelled"
        assert ending.ending.result["test"]["final"]["step"] == 0
    apart = train_population([job(), job({"kind": "lbfgs"}, batch_size="full")])
    for ending in apart.endings.values():
        assert set(ending.ending.result["test"]) == {"best", "final"}
