"""TPE in batches asks what Optuna's own sampler, driven by hand, asks."""

import json
import math
from dataclasses import replace
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from core.specs.studies.runs import strategy_of, sweep_of
from core.specs.study import TpeStrategy
from core.store.protocols.types import Round
from core.strategies.tpe import asked, distribution, internal_of, seed_of, told, value_of
from core.studies import RunRecord
from tests.core.specs.studies.specs_of_studies import IRIS, Json, job, parsed, study
from tests.core.strategies.searches import ours
from tests.core.strategies.simulated import Simulated, configurations_of, simulate

SWEEP: Json = {
    "optimizer": {"values": [{"kind": "adam"}, {"kind": "sgd"}]},
    "optimizer.lr": {"log": [1e-4, 1.0]},
    "optimizer.weight_decay": {"linear": [0.0, 0.5]},
    "problem.model.hidden.0": {"integers": [4, 64]},
    "problem.model.dropout": {"linear": [0.0, 0.5], "count": 6},
}


def value(run: RunRecord) -> float:
    p = run.params
    return float(
        abs(math.log10(p["optimizer.lr"]) + 2)
        + p["optimizer.weight_decay"]
        + abs(p["problem.model.hidden.0"] - 40) / 40
        + p["problem.model.dropout"]
        + (p["optimizer"]["kind"] == "adam")
    )


def body(**parts: Any) -> Json:
    strategy = {"kind": "tpe", "num_runs": 40, "seed": 5, "batch_size": 8}
    return study({"problem": IRIS}, SWEEP, **{"strategy": strategy, **parts})


def finished(simulated: Simulated) -> list[list[Json]]:
    """The parameters of each batch."""
    return [[new.record.params for new in round_.new] for round_ in simulated.rounds]


def by_hand(seed: int, batches: int, size: int, **options: Any) -> list[list[Json]]:
    """The same search as Optuna's documentation writes it (ask and tell, in batches), but for the
    sampler: a new one for each batch. `options`: of the sampler, Optuna's defaults else."""
    space: dict[str, optuna.distributions.BaseDistribution] = {
        "optimizer": optuna.distributions.CategoricalDistribution([0, 1]),
        "optimizer.lr": optuna.distributions.FloatDistribution(1e-4, 1.0, log=True),
        "optimizer.weight_decay": optuna.distributions.FloatDistribution(0.0, 0.5),
        "problem.model.hidden.0": optuna.distributions.IntDistribution(0, 60),
        "problem.model.dropout": optuna.distributions.IntDistribution(0, 5),
    }
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    search = optuna.create_study()
    found = []
    for batch in range(batches):
        search.sampler = optuna.samplers.TPESampler(seed=seed_of(seed, batch * size), **options)
        trials = [search.ask(space) for _ in range(size)]
        batch_params = []
        for trial in trials:
            params = {
                "optimizer": SWEEP["optimizer"]["values"][trial.params["optimizer"]],
                "optimizer.lr": trial.params["optimizer.lr"],
                "optimizer.weight_decay": trial.params["optimizer.weight_decay"],
                "problem.model.hidden.0": 4 + trial.params["problem.model.hidden.0"],
                "problem.model.dropout": 0.5 * trial.params["problem.model.dropout"] / 5,
            }
            batch_params.append(params)
            search.tell(trial, value(RunRecord(0, 0, 0, 0, params)))
        found.append(batch_params)
    return found


def test_batches_are_those_of_optuna_driven_by_hand() -> None:
    simulated = simulate(body()).go(lambda run, _: value(run))
    batches = finished(simulated)
    assert [len(batch) for batch in batches] == [8] * 5
    assert batches == by_hand(5, 5, 8)


@pytest.mark.parametrize(
    ("ours", "optunas"),
    [
        ({"num_startup": 24}, {"n_startup_trials": 24}),
        ({"num_startup": 0}, {"n_startup_trials": 0}),
        ({"num_candidates": 1}, {"n_ei_candidates": 1}),
        ({"multivariate": False}, {"multivariate": False}),
        ({"constant_liar": False}, {"constant_liar": False}),
    ],
)
def test_the_samplers_settings_are_optunas(ours: Json, optunas: Json) -> None:
    strategy = {"kind": "tpe", "num_runs": 40, "seed": 5, "batch_size": 8, **ours}
    found = finished(simulate(body(strategy=strategy)).go(lambda run, _: value(run)))
    assert found == by_hand(5, 5, 8, **optunas)
    assert found != by_hand(5, 5, 8)


def test_the_default_batch_finds_more_than_one_that_never_learns() -> None:
    # `make trials TRIALS_ARGS=searches` has thirty seeds, and Optuna's own loop beside them.
    found = [ours(seed, num_runs=32) for seed in range(4)]
    at_random = [ours(seed, num_runs=32, batch_size=32) for seed in range(4)]
    assert sum(found) < 0.5 * sum(at_random)


def test_it_learns() -> None:
    simulated = simulate(body()).go(lambda run, _: value(run))
    values = [value(run) for run in simulated.records]
    assert sum(values[32:]) / 8 < 0.7 * sum(values[:8]) / 8


def test_the_value_told_is_the_mean_of_the_repeats() -> None:
    spread = (-0.25, 0.25)
    once = simulate(body()).go(lambda run, _: value(run))
    twice = simulate(body(repeats=2)).go(lambda run, _: value(run) + spread[run.repeat])
    assert finished(once) == [batch[::2] for batch in finished(twice)]
    assert [run.configuration for run in twice.records[:4]] == [0, 0, 1, 1]
    assert {run.seed for run in twice.records} == {0, 1}


def test_the_same_records_ask_the_same_and_another_seed_something_else() -> None:
    simulated = simulate(body())  # which plans every round twice
    simulated.go(lambda run, _: value(run))
    other = {"kind": "tpe", "num_runs": 40, "seed": 6, "batch_size": 8}
    assert finished(simulate(body(strategy=other)).go(lambda run, _: value(run))) != finished(
        simulated
    )


def test_a_last_batch_is_as_small_as_what_is_left() -> None:
    strategy = {"kind": "tpe", "num_runs": 20, "batch_size": 8}
    simulated = simulate(body(strategy=strategy)).go(lambda run, _: value(run))
    assert [len(batch) for batch in finished(simulated)] == [8, 8, 4]
    assert [run.index for run in simulated.records] == list(range(20))


def test_distributions_go_there_and_back() -> None:
    sweep = {
        "a": {"values": [1, 1.0, True, {"kind": "adam"}, [8, 8]]},
        "b": {"log": [1e-4, 1.0]},
        "c": {"log": [1e-4, 1.0], "count": 9},
        "d": {"linear": [-1.0, 1.0]},
        "e": {"linear": [-1.0, 1.0], "count": 5},
        "f": {"integers": [-3, 9]},
    }
    axes = {axis.path: axis for axis in sweep_of({"base": {}, "sweep": sweep})}
    kinds = {path: repr(distribution(axis)) for path, axis in axes.items()}
    assert kinds == {
        "a": "CategoricalDistribution(choices=(0, 1, 2, 3, 4))",
        "b": "FloatDistribution(high=1.0, log=True, low=0.0001, step=None)",
        "c": "IntDistribution(high=8, log=False, low=0, step=1)",
        "d": "FloatDistribution(high=1.0, log=False, low=-1.0, step=None)",
        "e": "IntDistribution(high=4, log=False, low=0, step=1)",
        "f": "IntDistribution(high=12, log=False, low=0, step=1)",
    }
    for path in "acef":
        size = axes[path].size or 0
        points = [value_of(axes[path], number) for number in range(size)]
        assert [internal_of(axes[path], point) for point in points] == list(range(size))
    assert value_of(axes["f"], 0) == -3
    assert json_types(value_of(axes["a"], i) for i in range(3)) == [int, float, bool]
    assert internal_of(axes["b"], 0.02) == 0.02


def json_types(values: Any) -> list[type]:
    return [type(each) for each in values]


def run_with(**fields: Any) -> RunRecord:
    return replace(RunRecord(0, 0, 0, 0, {"optimizer.lr": 0.1}, status="succeeded"), **fields)


@pytest.mark.parametrize(
    ("repeats", "state", "told_value"),
    [
        ([run_with(metric=1.0), run_with(metric=3.0)], TrialState.COMPLETE, 2.0),
        ([run_with(metric=1.0), run_with(metric=3.0, outcome="diverged")], TrialState.COMPLETE,
         math.inf),
        ([run_with(metric=1.0), run_with(status="failed")], TrialState.COMPLETE, math.inf),
        ([run_with(metric=math.nan)], TrialState.COMPLETE, math.inf),
        ([run_with(metric=-math.inf)], TrialState.COMPLETE, math.inf),
        ([run_with(status="failed"), run_with(status="failed")], TrialState.FAIL, None),
    ],
)  # fmt: skip
def test_what_optuna_is_told(
    repeats: list[RunRecord], state: TrialState, told_value: float | None
) -> None:
    axes = sweep_of({"base": {}, "sweep": {"optimizer.lr": SWEEP["optimizer.lr"]}})
    spaces = {axis.path: distribution(axis) for axis in axes}
    trial = told(axes, spaces, repeats, "min")
    assert (trial.state, trial.value) == (state, told_value)
    assert trial.params == {"optimizer.lr": 0.1}
    if told_value == math.inf:
        assert told(axes, spaces, repeats, "max").value == -math.inf


def test_a_stopped_configuration_is_a_pruned_trial() -> None:
    axes = sweep_of({"base": {}, "sweep": {"optimizer.lr": SWEEP["optimizer.lr"]}})
    spaces = {axis.path: distribution(axis) for axis in axes}
    stopped = {"by": "successive_halving", "step": 300, "rank": 3, "of": 9}
    repeats = [
        run_with(status="cancelled", metric=metric, stopped=stopped) for metric in (1.0, 2.0)
    ]
    trial = told(axes, spaces, repeats, "min")
    assert (trial.state, trial.intermediate_values) == (TrialState.PRUNED, {300: 1.5})


def test_each_batch_is_a_bracket_of_successive_halving() -> None:
    strategy = {
        "kind": "tpe", "num_runs": 21, "batch_size": 9, "seed": 1,
        "stopper": {"kind": "successive_halving", "min_steps": 100},
    }  # fmt: skip
    simulated = simulate(body(strategy=strategy, repeats=2)).go(lambda run, _: value(run))
    # 9, 3, 1 twice; then a batch of 3: three configurations, one rung.
    stops = [round_.tasks[0].stop_step for round_ in simulated.rounds]
    assert stops == [100, 300, None, 100, 300, None, 100, None]
    sizes = [len({i for task in r.tasks for i in task.runs}) for r in simulated.rounds]
    assert sizes == [18, 6, 2, 18, 6, 2, 6, 2]
    finished_ones = [run for run in simulated.records if run.status == "succeeded"]
    assert len(configurations_of(finished_ones)) == 3
    for batch in (range(9), range(9, 18), range(18, 21)):
        best = min(batch, key=lambda number: value(simulated.runs[2 * number]))
        assert best in configurations_of(finished_ones)
    assert simulated.updates == simulated.resolved.max_updates


def strategy_and_spec(sweep: Json, num_runs: int) -> tuple[TpeStrategy, Json]:
    strategy = {"kind": "tpe", "num_runs": num_runs, "batch_size": num_runs}
    spec = parsed(study(job(), sweep, strategy=strategy)).spec
    found = strategy_of(spec)
    assert isinstance(found, TpeStrategy)
    return found, spec


def test_parameters_that_make_no_job_are_asked_anew() -> None:
    sweep = {"optimizer.lr": {"log": [1e-4, 1.0]}, "batch_size": {"values": [10, 20]}}
    strategy, spec = strategy_and_spec(sweep, 6)
    spec["sweep"]["batch_size"]["values"][1] = 1000  # more than the rows; refused on arrival
    batch = asked(spec, strategy, [])
    assert [each.number for each in batch] == list(range(6))
    assert [each.spec.batch_size for each in batch] == [10] * 6
    assert asked(spec, strategy, []) == batch


def test_where_no_parameters_make_a_job_the_search_ends() -> None:
    strategy, spec = strategy_and_spec({"batch_size": {"values": [10]}}, 3)
    spec["sweep"]["batch_size"]["values"] = [1000]
    assert asked(spec, strategy, []) == []


def test_tpe_without_a_sweep_has_one_configuration() -> None:
    strategy = {"kind": "tpe", "num_runs": 3}
    simulated = simulate(study(job(), strategy=strategy)).go(lambda *_: 1.0)
    assert [run.params for run in simulated.records] == [{}]
    assert isinstance(simulated.rounds[0], Round)


@pytest.mark.parametrize(
    ("sweep", "distinct"),
    [
        ({"optimizer.lr": {"values": [0.1, 0.1, 0.2]}}, 2),
        ({"optimizer.weight_decay": {"values": [0, 0.0]}}, 1),
        ({"batch_size": {"integers": [4, 9]}}, 6),
    ],
)
def test_tpe_ends_where_all_configurations_were_tried(sweep: Json, distinct: int) -> None:
    strategy = {"kind": "tpe", "num_runs": 12, "batch_size": 4}
    body = study(job(), sweep, strategy=strategy)
    simulated = simulate(body).go(lambda run, _: float(len(str(run.params))))
    assert configurations_of(simulated.records) == list(range(distinct))
    assert len({str(run.params) for run in simulated.records}) == distinct


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("group", [False, True])
def test_a_condition_is_one_of_optunas_define_by_run_searches(group: bool) -> None:
    """Written as Optuna's documentation writes a search space with branches."""
    sweep: Json = {
        "optimizer.kind": {"values": ["sgd", "adam"]},
        "optimizer.lr": {"log": [1e-4, 1.0]},
        "optimizer.momentum": {"linear": [0.0, 0.99], "when": {"optimizer.kind": ["sgd"]}},
    }

    def cost(params: Json) -> float:
        momentum = params.get("optimizer.momentum", 0.3)
        return abs(math.log10(params["optimizer.lr"]) + 2) + abs(float(momentum) - 0.8)

    strategy = {"kind": "tpe", "num_runs": 32, "seed": 2, "batch_size": 8, "group": group}
    body = study({"problem": IRIS}, sweep, strategy=strategy)
    found = finished(simulate(body).go(lambda run, _: cost(run.params)))
    search = optuna.create_study()
    for batch, listed in enumerate(found):
        search.sampler = optuna.samplers.TPESampler(
            seed=seed_of(2, batch * 8), multivariate=True, group=group, constant_liar=True
        )
        trials = [search.ask() for _ in listed]
        for trial, params in zip(trials, listed, strict=True):
            kind = ["sgd", "adam"][trial.suggest_categorical("optimizer.kind", [0, 1])]
            wanted: Json = {
                "optimizer.kind": kind,
                "optimizer.lr": trial.suggest_float("optimizer.lr", 1e-4, 1.0, log=True),
            }
            if kind == "sgd":
                wanted["optimizer.momentum"] = trial.suggest_float("optimizer.momentum", 0.0, 0.99)
            assert params == wanted
        for trial, params in zip(trials, listed, strict=True):
            search.tell(trial, cost(params))


@pytest.mark.parametrize("seed", range(3))
def test_few_configurations_are_all_found_though_the_sampler_asks_for_its_favourites(
    seed: int,
) -> None:
    """Of 5 times 9 configurations, it would come to about 17 by itself, and end."""
    sweep: Json = {
        "optimizer.kind": {"values": ["sgd", "adam", "adagrad"]},
        "optimizer.momentum": {
            "values": [0.0, 0.5, 0.9], "when": {"optimizer.kind": ["sgd"]},
        },
        "optimizer.lr": {"log": [0.001, 0.5], "count": 9},
    }  # fmt: skip

    def metric(run: RunRecord, _: int) -> float:
        far = abs(math.log10(run.params["optimizer.lr"]) + 1)
        return far + 0.05 * ["sgd", "adam", "adagrad"].index(run.params["optimizer.kind"])

    def trained(num_runs: int) -> list[Json]:
        strategy = {"kind": "tpe", "num_runs": num_runs, "seed": seed}
        base = job(optimizer={"lr": 0.1})
        simulated = simulate(study(base, sweep, strategy=strategy)).go(metric)
        listed = [dict(run.params) for run in simulated.records]
        assert len({json.dumps(params, sort_keys=True) for params in listed}) == len(listed)
        return listed

    assert len(trained(30)) == 30
    assert len(trained(60)) > 40


@pytest.mark.parametrize("seed", range(4))
def test_a_draw_from_the_whole_sweep_that_makes_no_job_is_not_drawn_again(seed: int) -> None:
    sweep = {
        "accumulate": {"integers": [1, 6]},
        "optimizer.weight_decay": {"linear": [0.0, 0.7], "count": 8},
    }
    base = job(optimizer={"kind": "adam"}, batch_size=60)
    strategy = {"kind": "tpe", "num_runs": 40, "seed": seed, "batch_size": 4}
    simulated = simulate(study(base, sweep, strategy=strategy))
    # What was not foreseen: of 12 rows 5 parts cannot be made. 5 times 8 configurations are left.
    simulated.resolved.spec["base"]["batch_size"] = 12
    simulated.go(lambda run, _: run.params["accumulate"] + run.params["optimizer.weight_decay"])
    assert len(simulated.records) >= 39
