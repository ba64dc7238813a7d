"""A resolved study has every default written out, and says exactly which runs it is."""

import json
import subprocess
import sys
import time
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import InvalidInputError
from core.specs.parsing.job import parse_job
from core.specs.parsing.remedy import merge
from core.specs.sizes.cost import estimate
from core.specs.studies.parse import parse_study
from core.specs.studies.runs import RunSpecs, configurations, run_spec
from core.specs.validation.limits import Limits
from tests.core.specs.studies.specs_of_studies import (
    DIABETES,
    IRIS,
    SPHERE,
    Json,
    assert_posted_again_it_is_the_same,
    job,
    parsed,
    study,
)

few = settings(
    max_examples=100, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip


CONTRACT: Json = {
    "base": {
        "problem": {
            "kind": "supervised",
            "data": {"kind": "builtin", "name": "digits"},
            "model": {"kind": "mlp"},
        }
    },
    "sweep": {
        "optimizer": {"values": [{"kind": "sgd", "lr": 0.1}, {"kind": "adam", "lr": 0.001}]},
        "optimizer.lr": {"log": [0.0001, 1.0], "count": 16},
        "problem.model.hidden": {"values": [[32], [64]]},
    },
    "strategy": {"kind": "grid"},
    "repeats": 3,
    "metric": {"name": "eval.loss", "at": "final", "goal": "min", "target": 0.2},
}


def alone(spec: Json, params: Json, repeat: int) -> Json:
    """The job that a user would post for a run: the base with the parameters put in by hand."""
    body = json.loads(json.dumps(spec["base"]))
    for path in sorted(params, key=lambda path: path.count(".")):
        *parents, last = path.split(".")
        node = body
        for name in parents:
            node = node[int(name)] if isinstance(node, list) else node.setdefault(name, {})
        node[int(last) if isinstance(node, list) else last] = params[path]
    body["seed"] = body.get("seed", 0) + repeat
    resolved: Json = parse_job(json.dumps(body).encode(), Limits()).model_dump(mode="json")
    return resolved


def test_the_example_of_the_contract() -> None:
    resolved = parsed(CONTRACT)
    assert (resolved.num_configurations, resolved.num_runs) == (64, 192)
    assert resolved.max_updates == 192 * 2000
    assert resolved.spec["metric"] == CONTRACT["metric"]
    assert resolved.spec["sweep"] == CONTRACT["sweep"]
    assert list(resolved.spec) == [
        "base", "sweep", "strategy", "repeats", "metric", "configurations", "warm_start_from",
        "labels", "webhook",
    ]  # fmt: skip
    assert_posted_again_it_is_the_same(resolved)


def test_what_all_runs_share_is_written_out_and_what_differs_stays_as_it_was_given() -> None:
    base = parsed(CONTRACT).spec["base"]
    assert "optimizer" not in base
    assert base["problem"] == CONTRACT["base"]["problem"]
    assert base["batch_size"] == 64
    assert base["budget"] == {"max_steps": 2000, "max_epochs": None, "max_seconds": None}
    assert base["precision"] == "float32"


def test_a_part_that_resolves_differently_stays_open() -> None:
    # lbfgs wants whole batches, adam 64 rows.
    sweep = {"optimizer.kind": {"values": ["adam", "lbfgs"]}}
    base = {"problem": {**IRIS, "data": {"kind": "builtin", "name": "digits"}}}
    resolved = parsed(study(base, sweep))
    assert "batch_size" not in resolved.spec["base"]
    sizes = [
        run_spec(resolved.spec, params, 0).batch_size for params in configurations(resolved.spec)
    ]
    assert sizes == [64, "full"]
    assert_posted_again_it_is_the_same(resolved)


def test_no_sweep_is_one_configuration_many_times() -> None:
    base = job({**SPHERE, "start": {"kind": "uniform", "low": -5, "high": 5}})
    resolved = parsed({"base": base, "repeats": 1000})
    assert configurations(resolved.spec) == [{}]
    assert (resolved.num_configurations, resolved.num_runs) == (1, 1000)
    seeds = [run_spec(resolved.spec, {}, repeat).seed for repeat in (0, 1, 999)]
    assert seeds == [0, 1, 999]
    assert_posted_again_it_is_the_same(resolved)


def test_every_run_is_the_job_that_could_be_posted_alone() -> None:
    for body in (
        CONTRACT,
        study(sweep={"seed": {"integers": [3, 5]}, "optimizer.lr": {"values": [1]}}, repeats=2),
        study(job(optimizer={"kind": "adam", "betas": [0.9, 0.99]}),
              {"optimizer.betas.0": {"linear": [0.0, 0.9], "count": 3}}),
        study(job(SPHERE), {"budget.max_steps": {"values": [10, 20]},
                            "schedule": {"values": [{"kind": "cosine"}]}}),
    ):  # fmt: skip
        spec = parsed(body).spec
        repeats = spec["repeats"]
        specs = RunSpecs(spec)
        for params in configurations(spec):
            for repeat in range(repeats):
                run = specs.of(params, repeat)
                assert run == run_spec(spec, params, repeat)
                assert run.model_dump(mode="json") == alone(spec, params, repeat)


def test_a_schedule_is_as_long_as_each_runs_own_budget() -> None:
    sweep = {"budget.max_steps": {"values": [10, 20]}}
    spec = parsed(study(job(SPHERE, schedule={"kind": "cosine"}), sweep)).spec
    runs = [run_spec(spec, params, 0) for params in configurations(spec)]
    assert [run.model_dump()["schedule"]["T_max"] for run in runs] == [10, 20]


def test_estimates_are_those_of_the_runs() -> None:
    body = study(sweep={"budget.max_steps": {"values": [10, 300]},
                        "problem.model.hidden": {"values": [[4], [64]]}}, repeats=3)  # fmt: skip
    resolved = parsed(body)
    runs = [run_spec(resolved.spec, params, 0) for params in configurations(resolved.spec)]
    sizes = [estimate(run) for run in runs]
    assert resolved.max_updates == 3 * sum(size.num_steps for size in sizes) == 3 * 620
    assert resolved.history_bytes == 3 * sum(size.history_bytes for size in sizes)
    assert resolved.memory_bytes == max(size.memory_bytes for size in sizes)


def test_the_tasks_take_priority_device_and_attempts_from_the_base() -> None:
    resolved = parsed(study(job(priority=2, max_attempts=7, device="cpu"), labels={"team": "a"}))
    assert (resolved.priority, resolved.max_attempts, resolved.device) == (2, 7, "cpu")
    assert resolved.labels == {"team": "a"}
    assert resolved.spec["base"]["labels"] == {}


INLINE: Json = {
    "kind": "inline",
    "features": [[float(i % 7), float(i % 5)] for i in range(60)],
    "targets": [i % 3 for i in range(60)],
}


def test_inline_data_is_read_once_and_each_run_is_still_its_own_job() -> None:
    base = job({**IRIS, "data": INLINE})
    sweep = {"problem.model.hidden": {"values": [[4], [8]]}, "batch_size": {"values": [10, "full"]}}
    resolved = parsed(study(base, sweep))
    specs = RunSpecs(resolved.spec)
    runs = [specs.of(params, 0) for params in configurations(resolved.spec)]
    for run, params in zip(runs, configurations(resolved.spec), strict=True):
        assert run.model_dump(mode="json") == alone(resolved.spec, params, 0)
    assert_posted_again_it_is_the_same(resolved)
    held = [run.problem.data for run in runs if run.problem.kind == "supervised"]
    assert all(data is held[0] for data in held)


def test_a_sweep_into_inline_data_is_not_lost() -> None:
    base = job({**IRIS, "data": INLINE})
    sweep = {"problem.data.features.0.1": {"values": [5.0, 6.0]},
             "problem.data.eval_fraction": {"values": [0.5]}}  # fmt: skip
    spec = parsed(study(base, sweep)).spec
    for params in configurations(spec):
        run = run_spec(spec, params, 0).model_dump(mode="json")
        assert run == alone(spec, params, 0)
        data = run["problem"]["data"]
        assert data["features"][0][1] == params["problem.data.features.0.1"]


def test_a_thousand_configurations_with_a_megabyte_of_data_resolve_in_seconds() -> None:
    data = {
        "kind": "inline",
        "features": [[i / 7, i / 3, i / 11] for i in range(20_000)],
        "targets": [i % 3 for i in range(20_000)],
    }
    sweep = {"optimizer.lr": {"log": [1e-4, 1.0], "count": 1000}}
    body = json.dumps(study(job({**IRIS, "data": data}, record={"every": 20}), sweep)).encode()
    assert len(body) > 1_000_000
    before = time.process_time()
    assert parse_study(body, Limits()).num_runs == 1000
    # 0.4 s here; reading the data each time takes 45 s.
    assert time.process_time() - before < 15


numbers = st.floats(1e-6, 10.0)


ranges = st.lists(numbers, min_size=2, max_size=2, unique=True).map(sorted)


axes: dict[str, st.SearchStrategy[Json]] = {
    "optimizer": st.just(
        {"values": [{"kind": "sgd", "lr": 0.1}, {"kind": "adam"}, {"kind": "lbfgs"}]}
    ),
    "optimizer.lr": st.one_of(
        st.builds(lambda ends, count: {"log": ends, "count": count}, ranges, st.integers(2, 4)),
        st.builds(lambda ends: {"linear": ends}, ranges),
        st.lists(numbers, min_size=1, max_size=3).map(lambda values: {"values": values}),
    ),
    "seed": st.just({"integers": [0, 2]}),
    "schedule": st.just({"values": [{"kind": "cosine"}, {"kind": "one_cycle"}]}),
    "budget.max_steps": st.sampled_from([{"values": [5, 50]}, {"integers": [40, 42]}]),
    "problem.model.hidden": st.just({"values": [[], [4]]}),
    "problem.model.dropout": st.just({"linear": [0.0, 0.5], "count": 2}),
    "record.eval_every": st.just({"values": [10, None]}),
    "precision": st.just({"values": ["float32", "float64"]}),
    "gradient_clip.max_norm": st.just({"values": [0.5, 1.0]}),
}


sweeps = st.lists(st.sampled_from(list(axes)), max_size=3, unique=True).flatmap(
    lambda paths: st.fixed_dictionaries({path: axes[path] for path in paths})
)


stoppers = st.sampled_from(
    [None, {"kind": "successive_halving"}, {"kind": "successive_halving", "factor": 2}]
)


bodies = st.fixed_dictionaries(
    {
        "base": st.sampled_from(
            [
                job(),
                job(DIABETES, record={"every": 3, "eval_every": 7}),
                job(gradient_clip={"kind": "norm", "max_norm": 2.0}, seed=5),
                job(budget={"max_epochs": 3}, schedule={"kind": "cosine"}),
                job(budget={"max_seconds": 9.0, "max_steps": 77}),
            ]
        ),
        "sweep": sweeps,
    },
    optional={
        "strategy": st.one_of(
            st.builds(lambda stopper: {"kind": "grid", "stopper": stopper}, stoppers),
            st.builds(
                lambda kind, count, stopper: {"kind": kind, "num_runs": count, "stopper": stopper},
                st.sampled_from(["random", "tpe"]), st.integers(1, 12), stoppers,
            ),
        ),
        "repeats": st.integers(1, 3),
        "metric": st.sampled_from(
            [{}, {"name": "loss", "at": "best"}, {"name": "eval.loss", "target": 0.1},
             {"name": "eval.loss", "at": "best"}]
        ),
    },
)  # fmt: skip


@few
@given(bodies)
def test_any_study_is_refused_with_reasons_or_resolves_to_a_fixed_point(body: Json) -> None:
    try:
        resolved = parsed(body)
    except InvalidInputError as error:
        refused = error.errors
    else:
        refused = []
    # The mistakes that these strategies can make.
    assert {mistake.code for mistake in refused} <= {
        "missing", "too_few_configurations", "no_rung", "not_a_multiple", "conflict",
    }  # fmt: skip
    assert {mistake.param.split(".")[0] for mistake in refused} <= {"base", "sweep", "strategy"}
    if refused:
        return
    assert_posted_again_it_is_the_same(resolved)
    assert resolved.num_runs == resolved.num_configurations * resolved.spec["repeats"]
    assert resolved.max_updates > 0
    specs, again = RunSpecs(resolved.spec), RunSpecs(parsed(resolved.spec).spec)
    for params in configurations(resolved.spec)[:5]:
        run = specs.of(params, 0)
        assert run == again.of(params, 0)
        # The base as it was given makes the same run.
        given = alone({"base": body["base"]}, params, 0)
        assert run.model_dump(mode="json") == given


def test_a_study_is_read_without_torch_scipy_or_optuna() -> None:
    code = (
        "import sys, core.specs.studies.parse;"
        "print(sorted({'torch', 'scipy', 'sklearn', 'optuna'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_remedys_patch_can_be_swept() -> None:
    """Whatever a job may be patched with, a study may try beside it."""
    patched: Any = merge(job(), {"optimizer": {"lr": 0.5}})
    spec = parsed(study(sweep={"optimizer.lr": {"values": [0.5]}})).spec
    expected = parse_job(json.dumps(patched).encode(), Limits())
    assert run_spec(spec, {"optimizer.lr": 0.5}, 0) == expected


def test_whole_numbers_beyond_64_bits_become_the_floats_that_they_stand_for() -> None:
    sweep = {"optimizer.lr": {"values": [2**70, 1]}, "optimizer.eps": {"values": [1]}}
    base = job(optimizer={"kind": "adam", "weight_decay": 10**25})
    resolved = parsed(study(base, sweep))
    assert resolved.spec["sweep"]["optimizer.lr"]["values"] == [2.0**70, 1]
    assert resolved.spec["base"]["optimizer"]["weight_decay"] == 1e25
    assert type(resolved.spec["base"]["optimizer"]["weight_decay"]) is float
    assert_posted_again_it_is_the_same(resolved)
