"""A resolved spec has every default written out, and posting it again changes nothing."""

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import InvalidInputError
from core.settings import Settings
from core.specs.catalog import FAMILIES, kinds
from core.specs.examples import minimal_example
from core.specs.job import FunctionProblem, JobSpec, Supervised
from core.specs.parsing.job import parse_job, parse_sized, sized_of
from core.specs.sizes.cost import estimate
from core.specs.sizes.extent import num_steps
from core.specs.unions import members
from core.specs.validation.limits import Limits
from tests.core.specs.example_uploads import EXAMPLE_UPLOADS

few = settings(
    max_examples=120, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
LIMITS = Limits()


def parse(body: dict[str, Any], limits: Limits = LIMITS) -> JobSpec:
    return parse_job(json.dumps(body).encode(), limits, EXAMPLE_UPLOADS)


def digits(**parts: Any) -> dict[str, Any]:
    problem = {
        "kind": "supervised",
        "data": {"kind": "builtin", "name": "digits"},
        "model": {"kind": "mlp"},
    }
    return {"problem": problem, "optimizer": {"kind": "adam"}, **parts}


def sphere(**parts: Any) -> dict[str, Any]:
    problem = {"kind": "function", "function": {"kind": "sphere"}}
    return {"problem": problem, "optimizer": {"kind": "sgd"}, **parts}


def again(spec: JobSpec, limits: Limits = LIMITS) -> JobSpec:
    return parse_job(spec.model_dump_json().encode(), limits, EXAMPLE_UPLOADS)


@pytest.mark.parametrize(
    ("family", "kind"), [(family, kind) for family in FAMILIES for kind in kinds(family)]
)
def test_everything_listed_resolves_with_its_defaults_and_resolves_to_itself(
    family: str, kind: str
) -> None:
    spec = parse(minimal_example(family, kind))
    assert again(spec) == spec
    assert estimate(spec).num_steps > 0


def test_a_supervised_job_gets_the_defaults_that_suit_it() -> None:
    spec = parse(digits())
    assert isinstance(spec.problem, Supervised)
    assert spec.problem.loss is not None
    assert spec.problem.loss.kind == "cross_entropy"
    assert spec.batch_size == 64
    assert spec.precision == "float32"
    assert spec.budget.max_steps == 2_000


def test_a_regression_gets_the_squared_error() -> None:
    body = digits()
    body["problem"]["data"]["name"] = "diabetes"
    problem = parse(body).problem
    assert isinstance(problem, Supervised)
    assert problem.loss is not None
    assert problem.loss.kind == "mse"


def test_a_function_job_gets_the_defaults_that_suit_it() -> None:
    spec = parse(sphere())
    assert isinstance(spec.problem, FunctionProblem)
    assert spec.problem.start == (2.0, -1.5)
    assert spec.batch_size == "full"
    assert spec.precision == "float64"
    assert spec.budget.max_steps == 1_000


@pytest.mark.parametrize("kind", ["lbfgs", "rprop"])
def test_optimizers_that_need_exact_gradients_get_all_rows(kind: str) -> None:
    assert parse(digits(optimizer={"kind": kind})).batch_size == "full"


def test_the_default_batch_is_all_rows_where_there_are_fewer() -> None:
    data = {"kind": "inline", "features": [[0], [1], [2], [3]], "targets": [0, 1, 0, 1]}
    problem = {"kind": "supervised", "data": data, "model": {"kind": "linear"}}
    assert parse({"problem": problem, "optimizer": {"kind": "sgd"}}).batch_size == 3


@pytest.mark.parametrize(
    ("budget", "max_steps"),
    [
        ({"max_epochs": 3}, None),
        ({"max_seconds": 10}, 1_000_000),
        ({"max_steps": 5, "max_seconds": 10}, 5),
        ({"max_epochs": 3, "max_seconds": 10}, None),
    ],
)
def test_steps_are_written_out_unless_epochs_say_how_long(
    budget: dict[str, Any], max_steps: int | None
) -> None:
    assert parse(digits(budget=budget)).budget.max_steps == max_steps


def test_a_run_limited_by_time_alone_is_capped_by_what_its_history_may_take() -> None:
    limits = Limits(max_history_bytes=100_000)
    spec = parse(digits(budget={"max_seconds": 10}), limits)
    assert 3_000 < num_steps(spec) < 100_000 / 24
    assert estimate(spec).history_bytes <= limits.max_history_bytes
    assert again(spec, limits) == spec


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ({"kind": "cosine"}, {"T_max": 500}),
        ({"kind": "polynomial"}, {"total_iters": 500}),
        ({"kind": "one_cycle"}, {"total_steps": 500, "max_lr": 0.001, "cycle_momentum": True}),
        ({"kind": "cyclic", "base_lr": 0.1, "max_lr": 1.0, "step_size_up": 7},
         {"step_size_down": 7, "cycle_momentum": True}),
    ],
)  # fmt: skip
def test_the_length_of_a_schedule_follows_from_the_budget(
    schedule: dict[str, Any], expected: dict[str, Any]
) -> None:
    spec = parse(digits(budget={"max_steps": 500}, schedule=schedule))
    resolved = spec.schedule.model_dump()
    assert {name: resolved[name] for name in expected} == expected


def test_a_schedule_after_others_rules_the_steps_that_are_left() -> None:
    schedule = {
        "kind": "sequential",
        "schedules": [
            {"kind": "cosine"},
            {"kind": "warmup", "steps": 20, "then": {"kind": "cosine"}},
        ],
        "milestones": [100],
    }
    resolved = parse(digits(budget={"max_steps": 500}, schedule=schedule)).schedule.model_dump()
    assert resolved["schedules"][0]["T_max"] == 100
    assert resolved["schedules"][1]["then"]["T_max"] == 380


def test_momentum_is_not_cycled_where_the_optimizer_has_none() -> None:
    spec = parse(digits(optimizer={"kind": "adagrad"}, schedule={"kind": "one_cycle"}))
    assert spec.schedule.model_dump()["cycle_momentum"] is False


def test_lbfgs_gets_the_evaluations_that_torch_would_allow() -> None:
    spec = parse(digits(optimizer={"kind": "lbfgs", "max_iter": 7}))
    assert spec.optimizer.model_dump()["max_eval"] == 7 * 5 // 4


def test_a_short_name_of_a_norm_is_written_out() -> None:
    body = digits()
    body["problem"]["model"]["norm"] = "layer"
    problem = parse(body).problem
    assert isinstance(problem, Supervised)
    assert problem.model.model_dump()["norm"] == {"kind": "layer", "eps": 1e-5}


def test_an_explicit_order_replaces_the_batch_size() -> None:
    body = digits(budget={"max_epochs": 2})
    body["problem"]["data"]["order"] = {"kind": "explicit", "steps": [[0, 1], [2], [3, 4, 5]]}
    spec = parse(body)
    assert spec.batch_size is None
    assert num_steps(spec) == 6
    assert again(spec) == spec


leaf_schedules = st.one_of(
    st.sampled_from(
        [minimal_example("schedules", kind)["schedule"] for kind in kinds("schedules")]
    ),
    st.builds(lambda n: {"kind": "cosine", "T_max": n}, st.integers(1, 10**6)),
)
optimizers = st.builds(
    lambda kind, lr: {"kind": kind, "lr": lr},
    st.sampled_from(sorted(members("optimizer"))),
    st.floats(1e-12, 1e6),
)
budgets = st.fixed_dictionaries(
    {},
    optional={
        "max_steps": st.integers(1, 10_000),
        "max_epochs": st.integers(1, 50),
        "max_seconds": st.floats(1e-3, 1e5),
    },
)
problems = st.one_of(
    st.sampled_from([minimal_example("functions", kind)["problem"] for kind in kinds("functions")]),
    st.builds(
        lambda data, hidden, norm, fraction: {
            "kind": "supervised",
            "data": {**data, "eval_fraction": fraction},
            "model": {"kind": "mlp", "hidden": hidden, "norm": norm},
        },
        st.sampled_from(
            [
                minimal_example("datasets", kind)["problem"]["data"]
                for kind in kinds("datasets")
                if kind != "text"
            ]
        ),
        st.lists(st.integers(1, 64), max_size=3),
        st.sampled_from([None, "batch", "layer"]),
        st.floats(0, 0.9),
    ),
)
jobs = st.fixed_dictionaries(
    {"problem": problems, "optimizer": optimizers},
    optional={
        "schedule": leaf_schedules,
        "budget": budgets,
        "batch_size": st.one_of(st.integers(1, 100), st.just("full")),
        "record": st.fixed_dictionaries(
            {}, optional={"every": st.integers(1, 50), "eval_every": st.none()}
        ),
        "precision": st.sampled_from(["float32", "float64"]),
        "seed": st.integers(0, 2**63 - 1),
        "gradient_clip": st.just({"kind": "norm", "max_norm": 1.0}),
    },
)


@few
@given(jobs)
def test_any_job_is_refused_with_reasons_or_resolves_to_a_fixed_point(body: dict[str, Any]) -> None:
    spec, codes = None, set[str]()
    try:
        spec = parse(body)
    except InvalidInputError as error:
        codes = {mistake.code for mistake in error.errors}
    # The mistakes that these strategies can make, each a rule across fields.
    assert codes <= {
        "conflict", "less_than_equal", "batch_of_one_row", "no_training_rows", "history_too_large",
        "no_evaluation_rows", "norm_of_one_unit",
    }  # fmt: skip
    if spec is None:
        assert codes
        return
    assert again(spec) == spec
    assert again(spec).model_dump_json() == spec.model_dump_json()
    sizes = estimate(spec)
    assert sizes.num_steps == num_steps(spec) > 0
    assert sizes.num_parameters > 0
    assert sizes.memory_bytes > 0


def test_the_limits_are_those_of_the_settings() -> None:
    settings_of_this_test = Settings(
        max_parameters=1, max_memory_bytes=2, max_history_bytes=3, max_samples=4,
        max_study_runs=5, max_study_steps=6,
    )  # fmt: skip
    assert Limits.of(settings_of_this_test) == Limits(1, 2, 3, 4, 5, 6)


def test_the_light_half_loads_neither_torch_nor_scipy_nor_scikit_learn() -> None:
    code = (
        "import sys, core.specs.parsing.job, core.specs.catalog;"
        "print(sorted({'torch', 'scipy', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_name_and_a_note_leave_the_spec_what_it_is() -> None:
    plain = parse(digits(seed=3))
    body = {**digits(seed=3), "name": "one", "note": "of many"}
    sized = parse_sized(json.dumps(body).encode(), LIMITS)
    assert (sized.name, sized.note) == ("one", "of many")
    spec = sized.spec
    assert type(spec) is type(plain) is JobSpec
    assert spec == plain
    assert spec.model_dump_json() == plain.model_dump_json()
    assert spec.model_fields_set == plain.model_fields_set
    assert spec.model_copy(update={"seed": 4}) == parse(digits(seed=4))
    assert JobSpec.model_validate_json(spec.model_dump_json()) == plain
    assert sized_of(spec) == sized._replace(name=None, note=None)
    assert sized.memory_bytes == estimate(spec).memory_bytes
