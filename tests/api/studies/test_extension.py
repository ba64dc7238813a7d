"""More runs for a study: extended, given configurations, begun from another."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from core.jobs import Status
from core.strategies.plan import next_round
from core.studies import RunRecord
from tests.api.actors import Api, Json, refused_params
from tests.api.study_actors import NO_SUCH_STUDY, RATES, Played, play, post, sweep, take
from worker.execution.plan import result_of

SPHERE: Json = {
    "problem": {"kind": "function", "function": {"kind": "sphere"}},
    "optimizer": {"kind": "sgd"},
    "budget": {"max_steps": 20},
}
LRS: Json = {"optimizer.lr": {"log": [0.001, 1.0]}}


def drawn(num_runs: int = 3, **changes: Any) -> Json:
    strategy = {"kind": "random", "num_runs": num_runs}
    return {"base": SPHERE, "sweep": LRS, "strategy": strategy, **changes}


def tpe(num_runs: int = 4, **changes: Any) -> Json:
    strategy = {"kind": "tpe", "num_runs": num_runs, "batch_size": 4}
    return {"base": SPHERE, "sweep": LRS, "strategy": strategy, **changes}


def call(api: Api, study: str, what: str, body: Json) -> Any:
    return api.http.post(f"/v1/studies/{study}/{what}", json=body)


def extend(api: Api, study: str, num_runs: int) -> Any:
    return call(api, study, "extend", {"num_runs": num_runs})


def enqueue(api: Api, study: str, *configurations: Json) -> Any:
    return call(api, study, "enqueue", {"configurations": list(configurations)})


def go(api: Api, metric: float = 0.5) -> Json:
    """Play the one study in the queue to its end, as workers would; all runs come to the metric
    plus their rate."""
    studies = api.worker.store.studies
    while True:
        claim = take(api)
        study_id = claim.study.id
        if claim.task.kind == "train":
            ended = [
                _ended(run, metric) for run in studies.runs(study_id, claim.task.runs)
            ]  # fmt: skip
            studies.close(claim, "succeeded", "finished", runs=ended)
            continue
        runs = [*studies.inherited(study_id), *studies.runs(study_id)]
        round_ = next_round(claim.study, runs)
        if round_ is not None:
            studies.plan(claim, round_)
        elif studies.finish(claim, "succeeded", {"result": result_of(claim.study, runs)}):
            return api.get(f"/v1/studies/{study_id}")


def _ended(run: RunRecord, metric: float) -> RunRecord:
    return replace(
        run, status="succeeded", outcome="budget_exhausted",
        metric=metric + run.params["optimizer.lr"],
        result={"num_steps": 20, "final_loss": metric, "train_s": 0.1},
    )  # fmt: skip


@pytest.mark.parametrize("body", [drawn(), tpe()], ids=["random", "tpe"])
def test_an_extended_study_trains_more_and_the_same_call_again_changes_nothing(
    api: Api, body: Json
) -> None:
    study = post(api, body)["id"]
    first, again = extend(api, study, 9), extend(api, study, 9)
    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json()["spec"]["strategy"]["num_runs"] == 9
    assert first.json()["progress"]["num_runs"] == again.json()["progress"]["num_runs"] == 9
    assert first.json()["progress"]["max_steps"] == 180
    assert "extended" in [entry["event"] for entry in first.json()["timeline"]]

    ended = go(api)

    assert ended["result"]["num_distinct"] == 9
    assert extend(api, study, 12).json()["code"] == "already_ended"
    assert enqueue(api, study, {"optimizer.lr": 0.1}).json()["code"] == "already_ended"


def test_an_extended_random_study_has_the_draws_of_a_longer_one(api: Api) -> None:
    study = post(api, drawn(3))["id"]
    plan = take(api)
    round_ = next_round(plan.study, [])
    assert round_ is not None
    api.worker.store.studies.plan(plan, round_)
    extend(api, study, 5)
    go(api)
    longer = post(api, drawn(5))["id"]
    go(api)
    assert _params(api, study) == _params(api, longer)


def test_a_study_that_came_through_with_fewer_runs_says_how_many(api: Api) -> None:
    few = {"optimizer.lr": {"values": [0.01, 0.02, 0.04]}}
    assert post(api, tpe(9, sweep=few))["progress"]["num_runs"] == 9
    ended = go(api)
    assert ended["result"]["num_distinct"] == 3
    assert (ended["progress"]["num_runs"], ended["progress"]["num_finished_runs"]) == (3, 3)


def _params(api: Api, study: str) -> list[Json]:
    return [run["params"] for run in api.get(f"/v1/studies/{study}/runs")["data"]]


def test_an_extension_beside_the_last_plan_is_heard(api: Api) -> None:
    """The plan was decided before the extension: it must not end the study."""
    study = post(api, drawn(2))["id"]
    studies = api.worker.store.studies
    plan = take(api)
    round_ = next_round(plan.study, [])
    assert round_ is not None
    studies.plan(plan, round_)
    task = take(api)
    studies.close(task, "succeeded", "finished",
                  runs=[_ended(run, 1.0) for run in studies.runs(study)])  # fmt: skip
    last = take(api)
    assert next_round(last.study, studies.runs(study)) is None

    assert extend(api, study, 3).status_code == 202

    assert studies.finish(last, "succeeded", {"result": {"best": None}}) is None
    round_ = next_round(studies.get(study), studies.runs(study))
    assert round_ is not None
    assert [new.record.index for new in round_.new] == [2]
    studies.plan(last, round_)
    assert go(api)["result"]["num_distinct"] == 3


def test_of_extensions_at_once_none_is_lost(api: Api) -> None:
    study = post(api, drawn(2))["id"]
    rates = [0.01 * number for number in range(1, 7)]
    with ThreadPoolExecutor(6) as pool:
        calls = [pool.submit(enqueue, api, study, {"optimizer.lr": rate}) for rate in rates]
        calls.append(pool.submit(extend, api, study, 4))
        assert {each.result().status_code for each in calls} == {202}
    view = api.get(f"/v1/studies/{study}")
    assert view["progress"]["num_runs"] == 10
    assert sorted(each["optimizer.lr"] for each in view["spec"]["configurations"]) == rates
    assert go(api)["result"]["num_distinct"] == 10


@pytest.mark.parametrize(
    "body",
    [sweep(SPHERE, repeats=1), drawn(), tpe(), drawn(4, repeats=2)],
    ids=["grid", "random", "tpe", "repeats"],
)
def test_enqueued_configurations_are_trained_and_marked(api: Api, body: Json) -> None:
    if "strategy" not in body:
        body = {**body, "sweep": LRS | {"optimizer.lr": {"log": [0.001, 1.0], "count": 3}}}
    study = post(api, body)
    before = study["progress"]["num_runs"]
    repeats = study["spec"]["repeats"]
    reply = enqueue(api, study["id"], {"optimizer.lr": 0.02}, {"optimizer.lr": 0.3})
    assert reply.status_code == 202, reply.text
    assert enqueue(api, study["id"], {"optimizer.lr": 0.3}).status_code == 200
    assert reply.json()["progress"]["num_runs"] == before + 2 * repeats

    ended = go(api)

    runs = api.get(f"/v1/studies/{study['id']}/runs?limit=100")["data"]
    marked = [run["params"]["optimizer.lr"] for run in runs if run["enqueued"]]
    assert marked == [rate for rate in (0.02, 0.3) for _ in range(repeats)]
    assert [run["index"] for run in runs] == list(range(before + 2 * repeats))
    assert ended["progress"]["runs"]["succeeded"] == before + 2 * repeats
    again = post(api, ended["spec"])
    assert again["spec"] == ended["spec"]
    assert again["progress"]["num_runs"] == before + 2 * repeats


def test_what_is_trained_already_is_not_enqueued(api: Api) -> None:
    played = play(api)
    reply = enqueue(api, played.id, *({"optimizer.lr": rate} for rate in RATES))
    assert reply.status_code == 200
    assert reply.json()["progress"]["num_runs"] == 6


MISTAKES: list[tuple[str, Json, list[tuple[str, str]]]] = [
    ("extend", {}, [("num_runs", "missing")]),
    ("extend", {"num_runs": 2}, [("num_runs", "too_small")]),
    ("extend", {"num_runs": "9"}, [("num_runs", "int_type")]),
    ("extend", {"num_runs": 10**6}, [("num_runs", "too_many_runs")]),
    ("extend", {"num_runs": 9, "runs": 1}, [("runs", "unknown_field")]),
    ("enqueue", {"configurations": []}, [("configurations", "too_short")]),
    ("enqueue", {"configurations": [{}]}, [("configurations.0.optimizer.lr", "missing")]),
    (
        "enqueue",
        {"configurations": [{"optimizer.lr": 0.1}, {"optimizer.lr": 2.0}]},
        [("configurations.1.optimizer.lr", "not_in_sweep")],
    ),
    (
        "enqueue",
        {"configurations": [{"optimizer.lr": "fast", "seed": 1}]},
        [
            ("configurations.0.seed", "unknown_path"),
            ("configurations.0.optimizer.lr", "not_in_sweep"),
        ],
    ),
]


@pytest.mark.parametrize(("what", "body", "params"), MISTAKES)
def test_mistakes_are_named_where_they_were_sent(
    api: Api, what: str, body: Json, params: list[tuple[str, str]]
) -> None:
    study = post(api, {**drawn(), "configurations": [{"optimizer.lr": 0.5}]})["id"]
    reply = call(api, study, what, body)
    assert reply.status_code == 422
    errors = reply.json()["errors"]
    assert [(error["param"], error["code"]) for error in errors] == params
    assert all(error["param"] in error["message"] for error in errors)


def test_a_grid_has_no_number_of_runs(api: Api) -> None:
    reply = extend(api, post(api)["id"], 9)
    assert refused_params(reply) == ["num_runs"]
    assert "enqueue" in reply.text
    assert extend(api, NO_SUCH_STUDY, 9).status_code == 404


def test_no_more_draws_than_the_sweep_has_values(api: Api) -> None:
    body = {**drawn(4), "sweep": {"optimizer.lr": {"values": RATES}}}
    study = post(api, body)
    assert study["progress"]["num_runs"] == 3
    assert refused_params(extend(api, study["id"], 9)) == ["num_runs"]


def test_a_cancelled_study_takes_no_more(api: Api) -> None:
    study = post(api, drawn())["id"]
    api.http.post(f"/v1/studies/{study}/cancel")
    assert extend(api, study, 9).status_code == 409


@pytest.fixture
def ended(api: Api) -> Json:
    post(api, drawn(3, repeats=2))
    return go(api)


def begun(ended: Json, **changes: Any) -> Json:
    return drawn(**{"num_runs": 2, "repeats": 2, **changes, "warm_start_from": ended["id"]})


def test_a_study_begun_from_another_has_its_runs_in_comparison_and_importance(
    api: Api, ended: Json
) -> None:
    study = post(api, begun(ended))
    assert study["progress"]["num_runs"] == 4
    assert study["warnings"] == []
    assert api.http.delete(f"/v1/studies/{ended['id']}").status_code == 204

    done = go(api, metric=2.0)

    compared = api.get(f"{study['links']['comparison']}")
    rows = {row["configuration"]: row for row in compared["configurations"]}
    assert sorted(rows) == [-3, -2, -1, 0, 1]
    assert [rows[number]["inherited"] for number in sorted(rows)] == [True] * 3 + [False] * 2
    assert rows[-2]["origin"] == {"study_id": ended["id"], "configuration": 1}
    assert rows[0]["origin"] is None
    assert compared["leader"] < 0
    importance = api.get(study["links"]["importance"])
    assert (importance["num_configurations"], importance["num_inherited"]) == (5, 3)
    assert done["best"]["configuration"] == compared["leader"]
    best = api.get(study["links"]["best"])
    assert best["optimizer"]["lr"] == rows[compared["leader"]]["params"]["optimizer.lr"]
    assert len(api.get(study["links"]["runs"])["data"]) == 4
    # The same seed would draw what was inherited: these were drawn anew.
    rates = [row["params"]["optimizer.lr"] for row in rows.values()]
    assert len(set(rates)) == 5
    assert api.http.get(study["links"]["plot"]).status_code == 409  # nothing has rows
    onward = post(api, begun(done))
    go(api)
    rows = api.get(onward["links"]["comparison"])["configurations"]
    assert sorted(row["configuration"] for row in rows) == [-5, -4, -3, -2, -1, 0, 1]
    assert {row["origin"]["study_id"] for row in rows if row["inherited"]} == {
        ended["id"], done["id"],
    }  # fmt: skip
    assert api.http.delete(f"/v1/studies/{onward['id']}").status_code == 204


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"metric": {"at": "best"}}, "other_metric"),
        ({"metric": {"goal": "max"}}, "other_metric"),
        ({"sweep": {"optimizer.momentum": {"linear": [0.0, 0.9]}}}, "none_fits"),
        ({"sweep": {"optimizer.lr": {"log": [2.0, 3.0]}}}, "none_fits"),
    ],
)
def test_a_study_that_does_not_fit_is_refused(
    api: Api, ended: Json, changes: Json, code: str
) -> None:
    reply = api.http.post("/v1/studies", json=begun(ended, **changes))
    assert reply.status_code == 422
    (error,) = reply.json()["errors"]
    assert (error["param"], error["code"]) == ("warm_start_from", code)
    assert ended["id"] in error["message"]


def test_only_a_study_that_has_ended_is_begun_from(api: Api) -> None:
    study = post(api, drawn())
    for source, code in ((study["id"], "not_ended"), (NO_SUCH_STUDY, "unknown_study")):
        reply = api.http.post("/v1/studies", json=begun({"id": source}))
        assert [error["code"] for error in reply.json()["errors"]] == [code]
    reply = api.http.post("/v1/studies", json=begun({"id": "study_1"}))
    assert refused_params(reply) == ["warm_start_from"]


def test_a_study_that_was_cancelled_before_anything_came_to_its_end_hands_nothing_on(
    api: Api,
) -> None:
    study = post(api, drawn())
    api.http.post(f"/v1/studies/{study['id']}/cancel")
    reply = api.http.post("/v1/studies", json=begun(study))
    (error,) = reply.json()["errors"]
    assert (error["param"], error["code"]) == ("warm_start_from", "none_fits")
    assert "nothing to hand on: leave it out" in error["message"]


def test_what_was_trained_otherwise_is_inherited_with_a_warning(api: Api, ended: Json) -> None:
    longer = {**SPHERE, "budget": {"max_steps": 40}}
    study = post(api, begun(ended, base=longer, num_runs=3))
    assert [each["code"] for each in study["warnings"]] == ["trained_otherwise"]
    go(api)
    rows = api.get(study["links"]["comparison"])["configurations"]
    rates = [row["params"]["optimizer.lr"] for row in rows]
    assert (len(rates), len(set(rates))) == (6, 3)  # trained again with this budget


def test_a_grid_begun_from_another_trains_what_is_new(api: Api) -> None:
    grid = {"base": SPHERE, "sweep": {"optimizer.lr": {"values": [0.1, 0.2]}}}
    post(api, grid)
    first = go(api)
    wider = {**grid, "sweep": {"optimizer.lr": {"values": [0.1, 0.2, 0.3]}}}
    study = post(api, {**wider, "warm_start_from": first["id"]})
    assert study["progress"]["num_runs"] == 1
    assert go(api)["best"]["params"] == {"optimizer.lr": 0.1}
    reply = api.http.post("/v1/studies", json={**grid, "warm_start_from": first["id"]})
    assert [error["code"] for error in reply.json()["errors"]] == ["nothing_new"]


def test_tpe_is_informed_by_what_it_inherits(api: Api, ended: Json) -> None:
    strategy = {"kind": "tpe", "num_runs": 4, "batch_size": 4, "num_startup": 2}
    study = post(api, {**begun(ended), "strategy": strategy})
    go(api)
    told = _params(api, study["id"])
    alone = post(api, {**drawn(repeats=2), "strategy": strategy})
    go(api)
    assert told != _params(api, alone["id"])


@pytest.mark.parametrize("status", ["cancelled", "failed"])
def test_configurations_that_were_cancelled_are_not_handed_on(api: Api, status: Status) -> None:
    played: Played = play(api, drawn(2))
    played.end(0, 0.5)
    played.write(1, status=status, error={"code": "internal_error", "message": "It did."})
    played.close(status="succeeded", result={"best": None})
    study = post(api, drawn(num_runs=3, warm_start_from=played.id))
    assert study["progress"]["num_runs"] == 3
    rows = api.get(study["links"]["comparison"])["configurations"]
    assert len(rows) == (1 if status == "cancelled" else 2)


@pytest.mark.parametrize("max_steps", [20, 40])
def test_a_study_begun_from_another_takes_more(api: Api, ended: Json, max_steps: int) -> None:
    """What was trained the very same there is one of its configurations; what was not is new."""
    inherited = _params(api, ended["id"])[0]
    study = post(api, begun(ended, base={**SPHERE, "budget": {"max_steps": max_steps}}))["id"]
    assert extend(api, study, 4).json()["progress"]["num_runs"] == 8
    is_known = max_steps == 20
    reply = enqueue(api, study, inherited)
    assert reply.status_code == (200 if is_known else 202)
    assert reply.json()["progress"]["num_runs"] == (8 if is_known else 10)
    assert go(api)["result"]["num_distinct"] == (4 if is_known else 5)
