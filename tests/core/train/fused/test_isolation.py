"""No run notices how the others fare: not in one bit, wherever it stands and whoever has left."""

import json
from typing import Any

import numpy as np
import pytest
import torch

from core.specs.job import JobSpec
from core.specs.parsing.job import parse_job
from core.specs.validation.limits import Limits
from core.train.fused.models import linear
from core.train.fused.problems.build import build_stacked
from core.train.fused.problems.compaction import Places, kept_slots, places
from tests.core.train.fused.harness import Control, Gathered, train_population
from tests.core.train.harness import blobs_job
from tests.core.train.layer_lists import FUSED, model

Json = dict[str, Any]
STEPS = 24


def assert_same_bits(got: Gathered, wanted: Gathered, runs: list[int]) -> None:
    for run in runs:
        for kind in ("train", "eval"):
            mine = wanted.received[run].histories.get(kind)
            assert repr(got.received[run].histories[kind]) == repr(mine), (run, kind)
        for which in ("initial", "best", "final"):
            states = getattr(got.weights[run], which), getattr(wanted.weights[run], which)
            for name in states[0]:
                one, other = (state[name].numpy().tobytes() for state in states)
                assert one == other, (run, which, name)
        one_end, other_end = got.endings[run].ending, wanted.endings[run].ending
        assert repr({**one_end.result, "train_s": 0}) == repr({**other_end.result, "train_s": 0})
        assert (one_end.outcome, one_end.best) == (other_end.outcome, other_end.best)


def with_troubles(specs: list[JobSpec], survivors: set[int]) -> list[JobSpec]:
    """All but the survivors leave early: by their budget, by a stop rule, or by overflowing."""
    changed: list[JobSpec] = []
    for number, spec in enumerate(specs):
        if number in survivors:
            changed.append(spec)
            continue
        body = spec.model_dump(mode="json")
        match number % 3:
            case 0:
                body["budget"]["max_steps"] = 1 + number % 17
            case 1:
                body["stop"]["max_loss"] = -1e9
            case _:
                body["optimizer"]["lr"] = 1e200 if spec.precision == "float64" else 1e30
        changed.append(JobSpec.model_validate_json(json.dumps(body)))
    return changed


ADAM: Json = {"kind": "adam"}
MUON: Json = {"kind": "muon"}


def supervised(precision: str, optimizer: Json, **rest: Any) -> list[JobSpec]:
    return [
        blobs_job(
            {**optimizer, "lr": 0.01 * (1 + number % 5)}, STEPS, seed=number % 7,
            precision=precision, **rest,
        )
        for number in range(41)
    ]  # fmt: skip


def on_one_batch(optimizer: Json = ADAM, **rest: Any) -> list[JobSpec]:
    found = supervised("float32", optimizer, **rest)
    return [spec.model_copy(update={"seed": 3}) for spec in found]


def layered(layers: list[Json], precision: str = "float32") -> list[JobSpec]:
    found = supervised(precision, {"kind": "adam"}, model=model(layers), batch_size=11)
    return [parse_job(spec.model_dump_json().encode(), Limits()) for spec in found]


def functions(function: Json, low: float = -2.0) -> list[JobSpec]:
    def body(seed: int) -> Json:
        start = {"kind": "uniform", "low": low, "high": 2.0}
        return {
            "problem": {"kind": "function", "function": function, "start": start},
            "optimizer": {"kind": "adam", "lr": 0.01 * (1 + seed % 5)}, "batch_size": "full",
            "precision": "float64", "device": "cpu", "budget": {"max_steps": STEPS}, "seed": seed,
        }  # fmt: skip

    return [JobSpec.model_validate_json(json.dumps(body(seed))) for seed in range(150)]


def expressions() -> list[JobSpec]:
    formula = "sinh(x)*exp(-y**2) + log1p(x**2) + tanh(y)**3 + where(x > y, erf(x), atan(y))"
    source = np.random.default_rng(0)

    def body(number: int) -> Json:
        x, y = source.uniform(-2, 2, 2).tolist()
        spec = functions({"kind": "himmelblau"})[number].model_dump(mode="json")
        function = {"kind": "expression", "expression": formula}
        spec["problem"] |= {"function": function, "start": {"x": x, "y": y}}
        return dict(spec)

    return [JobSpec.model_validate_json(json.dumps(body(number))) for number in range(100)]


def mlp(*hidden: int, **rest: Any) -> Json:
    return {"kind": "mlp", "hidden": list(hidden), **rest}


POPULATIONS: dict[str, list[JobSpec]] = {
    "small": supervised("float32", ADAM),
    "even sizes": supervised("float32", ADAM, model=mlp(16, 32)),
    "odd sizes": supervised("float32", ADAM, model=mlp(13, 37), batch_size=29),
    "odd sizes in float64": supervised("float64", ADAM, model=mlp(17, 65), batch_size=33),
    "wide and ragged": supervised("float32", ADAM, model=mlp(64, 64), batch_size=25),
    "batch norm": supervised("float32", ADAM, model=mlp(33, norm="batch"), batch_size=9),
    "layer norm": supervised("float32", ADAM, model=mlp(33, norm="layer"), batch_size=9),
    "dropout": supervised("float32", ADAM, model=mlp(33, dropout=0.3), batch_size=9),
    "on one batch": on_one_batch(),
    "on one batch, odd sizes": on_one_batch(model=mlp(13, 37), batch_size=29),
    "on one batch, wide and ragged": on_one_batch(model=mlp(64, 64), batch_size=25),
    "on one batch, dropout": on_one_batch(model=mlp(33, 5, dropout=0.3), batch_size=9),
    "on one batch, linear": on_one_batch(model={"kind": "linear"}, batch_size=29),
    "on one batch, one unit": on_one_batch(model=mlp(1), batch_size=5),
    "on all rows": supervised("float32", ADAM, model=mlp(13), batch_size="full"),
    "momentum": supervised("float32", {"kind": "sgd", "momentum": 0.9}, model=mlp(11, 7)),
    "muon": supervised("float32", MUON, model=mlp(16, 32)),
    "muon of odd sizes": supervised("float32", MUON, model=mlp(13, 37, 11), batch_size=29),
    "muon of odd sizes in float64": supervised("float64", MUON, model=mlp(17, 65), batch_size=33),
    "muon with an odd side": supervised("float32", MUON, model=mlp(16, 5, 16)),
    "muon, wide": supervised("float32", MUON, model=mlp(64, 64), batch_size=25),
    **{f"layers: {name}": layered(layers) for name, layers in FUSED.items()},
    "conv in float64": layered(FUSED["conv, batch norm"], "float64"),
    "clipped": supervised("float32", ADAM, gradient_clip={"kind": "norm", "max_norm": 0.1}),
    "by rows": supervised("float32", ADAM, eval_fraction=0.0, record={"every": 5}),
    "plateau": supervised("float32", ADAM, schedule={"kind": "reduce_on_plateau", "patience": 1}),
    "cosine": supervised("float32", {"kind": "adamw"}, schedule={"kind": "cosine", "T_max": 20}),
    **{
        name: supervised("float32", ADAM, model=mlp(13, 5, activation=name), batch_size=9)
        for name in (
            "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "softplus", "softsign", "tanh",
            "sigmoid", "hardswish",
        )
    },
    **{
        f"{kind} in {dim} dimensions": functions({"kind": kind, "dim": dim})
        for kind in ("rastrigin", "ackley", "griewank", "levy", "schwefel", "styblinski_tang")
        for dim in (3, 10)
    },
    "goldstein_price": functions({"kind": "goldstein_price"}),
    "branin": functions({"kind": "branin"}),
    "expression": expressions(),
    "rotated quadratic": functions(
        {"kind": "quadratic", "eigenvalues": [float(i + 1) for i in range(30)], "rotation_seed": 3}
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", POPULATIONS)
def test_a_run_keeps_its_bits_while_others_leave_and_overflow(name: str) -> None:
    specs = POPULATIONS[name]
    survivors = {2, 7, len(specs) // 2, len(specs) - 4, len(specs) - 1}
    undisturbed = train_population(specs)
    disturbed = train_population(with_troubles(specs, survivors))
    assert_same_bits(disturbed, undisturbed, sorted(survivors))


@pytest.mark.parametrize("name", [name for name in POPULATIONS if name.startswith("on ")])
def test_a_run_keeps_its_bits_by_the_products_that_other_processors_have(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear, "WIDE", not linear.WIDE)
    test_a_run_keeps_its_bits_while_others_leave_and_overflow(name)


def test_slots_keep_the_places_of_the_squares_that_muon_makes() -> None:
    def places_for(optimizer: Json) -> Places:
        specs = supervised("float32", optimizer, model=mlp(16, 5, 16))[:2]
        problem = build_stacked(specs, torch.device("cpu"))
        return places(specs[0], problem.packing.shapes, problem.rows.dtype)

    # 16 x 5 numbers of 4 bytes fill whole lines of 64 bytes; 5 x 5 do in 16 runs.
    assert places_for(ADAM) == Places(1, 1)
    assert places_for(MUON) == Places(16, 1)


@pytest.mark.parametrize("name", ["even sizes", "odd sizes", "muon", "muon of odd sizes"])
def test_one_survivor_keeps_its_bits(name: str) -> None:
    specs = POPULATIONS[name]
    undisturbed = train_population(specs)
    for survivor in (0, 20, 40):
        disturbed = train_population(with_troubles(specs, {survivor}))
        assert_same_bits(disturbed, undisturbed, [survivor])


def test_a_dropped_run_ends_as_cancelled_and_leaves_the_others_as_they_were() -> None:
    specs = POPULATIONS["small"]
    undisturbed = train_population(specs)
    dropped = train_population(specs, control=Control(dropped={3, 4, 5}))
    assert_same_bits(dropped, undisturbed, [0, 1, 2, 6, 40])
    assert {dropped.endings[run].ending.reason for run in (3, 4, 5)} == {"cancelled"}


def test_repeating_a_population_repeats_its_bits() -> None:
    specs = POPULATIONS["dropout"]
    assert_same_bits(train_population(specs), train_population(specs), list(range(41)))


@pytest.mark.parametrize("moves", [Places(1, 1), Places(8, 1), Places(1, 32), Places(16, 32)])
def test_slots_move_only_where_they_may(moves: Places) -> None:
    source = np.random.default_rng(0)
    for slots in (1, 5, 33, 64, 150):
        live = source.random(slots) < 0.2
        kept = kept_slots(live, moves)
        if kept is None:
            continue
        assert set(np.flatnonzero(live)) <= set(kept)
        assert len(set(kept)) == len(kept)
        assert (kept % moves.phase == np.arange(len(kept)) % moves.phase).all()
        if moves.tail > 1:
            assert (slots - len(kept)) % moves.tail == 0
            assert (kept[-moves.tail :] == np.arange(slots)[-moves.tail :]).all()


def test_ended_slots_go_so_that_they_cost_nothing() -> None:
    live = np.zeros(64, dtype=bool)
    live[[5, 9, 40, 63, 20]] = True
    kept = kept_slots(live, Places(1, 1))
    assert kept is not None
    assert kept.tolist() == [5, 9, 20, 40, 63]
    assert kept_slots(np.array([True] * 60 + [False] * 4), Places(1, 1)) is None
