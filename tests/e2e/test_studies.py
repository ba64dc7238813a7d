"""Studies over HTTP, on real workers: every strategy, their ends, and what befalls them."""

import os
import signal
import time
from typing import Any

import numpy as np
import pytest

from tests.e2e.client import Json, Service
from tests.e2e.specs import digits, endless
from tests.e2e.studies import Studies, assert_close

RATES = {"optimizer.lr": {"log": [1e-3, 1e-1], "count": 3}}


@pytest.fixture(scope="module")
def studies(service: Service) -> Studies:
    return Studies(service)


def sphere(**more: Any) -> Json:
    return {
        "problem": {"kind": "function", "function": {"kind": "sphere", "dim": 2}},
        "optimizer": {"kind": "sgd", "lr": 0.1},
        "budget": {"max_steps": 20},
        **more,
    }


def exact(**more: Any) -> Json:
    """A small network in double precision, where sums in another order agree to 1e-12."""
    return digits(steps=60, precision="float64", record={"eval_every": 20}, **more)


def test_a_grid_with_repeats_runs_to_its_end(studies: Studies) -> None:
    study = studies.run(
        {
            "base": digits(steps=40),
            "sweep": {"optimizer.lr": {"values": [1e-4, 1e-2]}, "batch_size": {"values": [32, 64]}},
            "repeats": 3,
            "metric": {"name": "eval.accuracy"},
        }
    )
    progress = study["progress"]
    assert (progress["num_runs"], progress["num_finished_runs"]) == (12, 12)
    assert (progress["step"], progress["max_steps"], progress["fraction"]) == (480, 480, 1.0)
    assert progress["runs"]["succeeded"] == 12
    runs = studies.runs(study["id"])
    assert [run["index"] for run in runs] == list(range(12))
    assert [run["seed"] for run in runs] == 4 * [0, 1, 2]
    assert [(run["params"]["optimizer.lr"], run["params"]["batch_size"]) for run in runs[::3]] == [
        (1e-4, 32), (1e-4, 64), (1e-2, 32), (1e-2, 64),
    ]  # fmt: skip
    for run in runs:
        assert (run["status"], run["outcome"]) == ("succeeded", "budget_exhausted")
        assert run["metric"] == run["result"]["eval"]["accuracy"]
        assert studies.history(study["id"], run["index"])["total"] == 40
    means = [np.mean([run["metric"] for run in runs[at : at + 3]]) for at in range(0, 12, 3)]
    assert study["best"]["configuration"] == study["result"]["best"]["configuration"]
    assert study["best"]["configuration"] == int(np.argmax(means))
    assert study["best"]["metric"] == pytest.approx(max(means))


@pytest.mark.parametrize(
    "strategy",
    [
        {"kind": "grid"},
        {"kind": "grid", "stopper": {"kind": "successive_halving", "factor": 2, "min_steps": 40}},
        {"kind": "tpe", "num_runs": 8, "batch_size": 4},
    ],
    ids=["grid", "halving", "tpe"],
)
def test_a_study_of_runs_that_climb_is_led_by_the_highest(studies: Studies, strategy: Json) -> None:
    hollow = {"kind": "expression", "expression": "exp(-x1**2)"}
    base = {
        "problem": {"kind": "function", "function": hollow, "start": {"x1": 1.8}},
        "optimizer": {"kind": "sgd", "lr": 0.5, "maximize": True},
        "budget": {"max_steps": 300},
    }
    rates: Json = (
        {"values": [0.5, 0.001]} if strategy == {"kind": "grid"} else {"log": [0.001, 1.0]}
    )
    if "stopper" in strategy:
        rates["count"] = 4
    study = studies.run(
        {
            "base": base,
            "sweep": {"optimizer.lr": rates},
            "strategy": strategy,
            "repeats": 2,
            "metric": {"target": 0.99},
        }
    )
    assert study["spec"]["metric"]["goal"] == "max"
    runs = studies.runs(study["id"], sort="metric")
    assert {run["outcome"] for run in runs} <= {"budget_exhausted", None}
    levels = [run["metric"] for run in runs if run["status"] == "succeeded"]
    assert levels == sorted(levels, reverse=True)
    assert levels[0] == pytest.approx(1.0)
    assert study["best"]["metric"] == pytest.approx(max(levels))
    for run in runs:
        if run["status"] == "succeeded":
            losses = studies.history(study["id"], run["index"])["series"]["loss"]
            assert run["best"]["loss"] == max(losses)
            reached = [step for step, loss in enumerate(losses) if loss >= 0.99]
            assert (run["target"] or {}).get("step") == (reached[0] if reached else None)
    importance = studies.http.get(f"/v1/studies/{study['id']}/importance").json()
    assert importance["num_configurations"] + importance["num_left_out"] == len(
        {run["configuration"] for run in runs}
    )
    comparison = studies.http.get(f"/v1/studies/{study['id']}/comparison").json()
    assert comparison["leader"] == study["best"]["configuration"]
    assert comparison["configurations"][0]["mean"] == pytest.approx(max(levels))
    assert comparison["minima"]["minima"][0]["value"] == pytest.approx(1.0)


def test_runs_of_one_repeat_start_from_the_same_weights(studies: Studies) -> None:
    study = studies.run({"base": digits(steps=3), "sweep": RATES, "repeats": 2})
    first = {
        index: {
            name: value.tobytes()
            for name, value in studies.weights(study["id"], index, "initial").items()
        }
        for index in range(6)
    }
    assert first[0] == first[2] == first[4]
    assert first[1] == first[3] == first[5]
    assert first[0] != first[1]


def assert_same_weights(
    service: Service, studies: Studies, job_id: str, study_id: str, index: int
) -> None:
    """Of the job and the run: all three sets, to rounding."""
    for checkpoint in ("initial", "best", "final"):
        alone = service.weights(job_id, checkpoint)
        together = studies.weights(study_id, index, checkpoint)
        assert together.keys() == alone.keys()
        for name, value in alone.items():
            assert_close(together[name], value, 1e-9)


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_a_run_is_the_same_as_the_job_that_its_spec_makes(
    service: Service, studies: Studies, optimizer: str
) -> None:
    base = exact(optimizer={"kind": optimizer})
    study = studies.run({"base": base, "sweep": RATES, "repeats": 2})
    for index in (1, 4):
        run = studies.one(study["id"], index)
        assert run["fused"]
        job = service.run(run["spec"])
        for kind, total in (("train", 60), ("eval", 4)):
            alone = service.history(job["id"], kind=kind, limit=10_000)["series"]
            together = studies.history(study["id"], index, kind=kind)["series"]
            assert together.keys() == alone.keys()
            assert together["step"] == alone["step"]
            assert len(alone["step"]) == total
            for name, values in alone.items():
                assert_close(together[name], values, 1e-9)
        assert_same_weights(service, studies, job["id"], study["id"], index)
        assert (run["outcome"], run["best"]["step"]) == (job["outcome"], job["best"]["step"])


def test_a_run_that_cannot_be_fused_is_that_job_to_the_bit(
    service: Service, studies: Studies
) -> None:
    base = digits(steps=6, optimizer={"kind": "lbfgs", "lr": 0.5}, batch_size="full")
    study = studies.run({"base": base, "sweep": {"optimizer.lr": {"values": [0.5, 1.0]}}})
    run = studies.one(study["id"], 1)
    assert run["fused"] is False
    job = service.run(run["spec"])
    alone = service.history(job["id"], limit=10_000)["series"]
    assert studies.history(study["id"], 1)["series"] == alone
    together = studies.weights(study["id"], 1, "final")
    for name, value in service.weights(job["id"], "final").items():
        assert together[name].tobytes() == value.tobytes()
    assert {**run["result"], "train_s": 0} == {**job["result"], "train_s": 0}


@pytest.mark.parametrize(
    "strategy",
    [
        {"kind": "random", "num_runs": 6},
        {"kind": "tpe", "num_runs": 10, "batch_size": 4},
        {"kind": "random", "num_runs": 9, "stopper": {"kind": "successive_halving"}},
    ],
)
def test_a_study_repeats_itself_to_the_bit(studies: Studies, strategy: Json) -> None:
    spec = {
        "base": digits(steps=27, record={"eval_every": 3}),
        "sweep": {"optimizer.lr": {"log": [1e-4, 1.0]}},
        "strategy": strategy,
    }
    one = studies.run(spec)
    other = studies.run(one["spec"])
    assert one["progress"]["num_finished_runs"] == strategy["num_runs"]
    runs = studies.runs(one["id"])
    again = studies.runs(other["id"])
    assert [run["params"] for run in runs] == [run["params"] for run in again]
    assert [run["stopped"] for run in runs] == [run["stopped"] for run in again]
    for index in range(strategy["num_runs"]):
        for kind in ("train", "eval"):
            series = studies.history(one["id"], index, kind=kind)["series"]
            assert studies.history(other["id"], index, kind=kind)["series"] == series
        for name, value in studies.weights(one["id"], index, "final").items():
            assert studies.weights(other["id"], index, "final")[name].tobytes() == value.tobytes()


def test_tpe_learns_from_its_earlier_batches(studies: Studies) -> None:
    study = studies.run(
        {
            "base": sphere(),
            "sweep": {"optimizer.lr": {"log": [1e-6, 1.0]}},
            "strategy": {"kind": "tpe", "num_runs": 40, "batch_size": 10},
            "metric": {"name": "loss"},
        }
    )
    runs = studies.runs(study["id"])
    assert [run["configuration"] for run in runs] == list(range(40))
    metrics = [float(run["metric"]) for run in runs]
    assert np.median(metrics[30:]) < np.median(metrics[:10])


def test_halving_stops_the_worst_and_goes_on_with_the_rest_where_they_paused(
    studies: Studies,
) -> None:
    spec = {
        "base": exact(),
        "sweep": {"optimizer.lr": {"log": [1e-4, 1e-1], "count": 9}},
        "metric": {"name": "eval.loss"},
    }
    stopper = {"kind": "successive_halving", "factor": 3, "min_steps": 20}
    study = studies.run({**spec, "strategy": {"kind": "grid", "stopper": stopper}})
    whole = studies.run(spec)
    runs = studies.runs(study["id"])
    assert [run["status"] for run in runs].count("succeeded") == 3
    assert study["progress"]["runs"]["cancelled"] == 6
    at_rung = {run["index"]: studies.losses(whole["id"], run["index"], kind="eval")[1]
               for run in runs}  # fmt: skip
    best = sorted(at_rung, key=lambda index: at_rung[index])
    for run in runs:
        place = best.index(run["index"])
        if place < 3:
            assert run["stopped"] is None
            assert studies.history(study["id"], run["index"])["total"] == 60
        else:
            assert run["stopped"]["step"] == 20
            assert (run["stopped"]["rank"], run["stopped"]["of"]) == (place + 1, 9)
            assert studies.history(study["id"], run["index"])["total"] == 20
        one = studies.one(whole["id"], run["index"])
        assert run["result"]["initial_loss"] == one["result"]["initial_loss"] is not None
        got = studies.losses(study["id"], run["index"])
        assert_close(got, studies.losses(whole["id"], run["index"])[: len(got)], 1e-9)
    assert study["progress"]["step"] == 9 * 20 + 3 * 40


@pytest.mark.parametrize("kind", ["adam", "asgd"])  # fused, and side by side
def test_a_run_that_halving_stopped_has_the_weights_of_the_job_that_ends_there(
    service: Service, studies: Studies, kind: str
) -> None:
    stopper = {"kind": "successive_halving", "factor": 3, "min_steps": 20}
    study = studies.run(
        {
            "base": exact(optimizer={"kind": kind}),
            "sweep": RATES,
            "strategy": {"kind": "grid", "stopper": stopper},
        }
    )
    stopped = [run["index"] for run in studies.runs(study["id"]) if run["stopped"]]
    assert len(stopped) == 2
    for index in stopped:
        run = studies.one(study["id"], index)
        job = service.run({**run["spec"], "budget": {"max_steps": run["stopped"]["step"]}})
        assert run["best"]["step"] == job["best"]["step"]
        assert_same_weights(service, studies, job["id"], study["id"], index)


def test_a_run_that_diverges_touches_no_other(studies: Studies) -> None:
    values = [1e-3, 1e6, 1e-2]
    study = studies.run(
        {"base": exact(optimizer={"kind": "sgd"}), "sweep": {"optimizer.lr": {"values": values}}}
    )
    healthy = studies.run(
        {
            "base": exact(optimizer={"kind": "sgd"}),
            "sweep": {"optimizer.lr": {"values": [values[0], values[2]]}},
        }
    )
    assert study["progress"]["runs"]["diverged"] == 1
    runs = studies.runs(study["id"])
    assert [run["outcome"] == "diverged" for run in runs] == [False, True, False]
    history = studies.history(study["id"], 1)
    assert history["first_nonfinite_step"] == history["series"]["step"][-1]
    assert history["series"]["loss"][-1] in {"NaN", "Infinity"}
    assert history["complete"]
    for index, other in ((0, 0), (2, 1)):
        assert_close(
            studies.losses(study["id"], index), studies.losses(healthy["id"], other), 1e-12
        )
    assert study["best"]["configuration"] != 1


def test_the_best_configuration_is_a_job_ready_to_post(service: Service, studies: Studies) -> None:
    study = studies.run({"base": sphere(), "sweep": {"optimizer.lr": {"values": [0.01, 0.3]}}})
    reply = service.http.get(f"/v1/studies/{study['id']}/best")
    assert reply.status_code == 200, reply.text
    spec = reply.json().get("spec", reply.json())
    job = service.run(spec)
    assert job["spec"]["optimizer"]["lr"] == 0.3
    assert job["result"]["final_loss"] == pytest.approx(
        studies.runs(study["id"])[1]["result"]["final_loss"], rel=1e-6
    )


def test_a_target_says_when_it_was_reached(studies: Studies) -> None:
    metric = {"name": "loss", "target": 0.5}
    study = studies.run({"base": sphere(), "sweep": RATES, "metric": metric})
    for run in studies.runs(study["id"]):
        losses = studies.losses(study["id"], run["index"])
        reached = [step for step, loss in enumerate(losses) if loss <= 0.5]
        if reached:
            assert run["target"]["step"] == reached[0]
            assert 0 < run["target"]["seconds"] <= run["result"]["train_s"]
        else:
            assert run["target"] is None


def test_a_cancel_stops_what_trains_and_keeps_it(service: Service, studies: Studies) -> None:
    study_id = studies.post({"base": endless(), "sweep": RATES})
    studies.until(study_id, lambda study: study["progress"]["step"] > 0)
    assert service.http.post(f"/v1/studies/{study_id}/cancel").status_code == 202
    began = time.monotonic()
    study = studies.wait(study_id)
    assert time.monotonic() - began < 60  # by itself it would take hours
    assert study["status"] == "cancelled"
    assert study["progress"]["runs"]["cancelled"] == 3
    for run in studies.runs(study_id):
        assert run["status"] == "cancelled"
        assert run["result"]["num_steps"] > 0
        assert studies.history(study_id, run["index"])["complete"]
        assert studies.weights(study_id, run["index"], "final")
    assert service.http.post(f"/v1/studies/{study_id}/cancel").status_code == 200


def test_a_deleted_study_is_gone_with_its_runs(service: Service, studies: Studies) -> None:
    study = studies.run({"base": sphere(), "sweep": RATES})
    path = f"/v1/studies/{study['id']}"
    assert service.http.delete(path).status_code == 204
    for below in ("", "/runs", "/runs/0", "/runs/0/history", "/runs/0/model", "/best"):
        assert service.http.get(path + below).status_code == 404


def test_runs_are_no_jobs(service: Service, studies: Studies) -> None:
    before = service.http.get("/v1/jobs", params={"limit": 200}).json()["data"]
    studies.run({"base": sphere(), "sweep": RATES})
    after = service.http.get("/v1/jobs", params={"limit": 200}).json()["data"]
    assert [job["id"] for job in after] == [job["id"] for job in before]


def pids_at_work(service: Service, study_id: str) -> list[int]:
    """The processes of the workers that say that they work at a study."""
    workers = service.http.get("/v1/workers").json()["data"]
    return [worker["pid"] for worker in workers if worker["current_job"] == study_id]


def test_two_workers_share_a_study(service: Service, studies: Studies) -> None:
    sizes = {"problem.model.hidden": {"values": [[16], [32]]}}
    study_id = studies.post({"base": endless(), "sweep": sizes})
    studies.until(study_id, lambda study: study["progress"]["runs"]["running"] == 2)

    studies.until(study_id, lambda _: len(pids_at_work(service, study_id)) == 2)
    service.http.post(f"/v1/studies/{study_id}/cancel")
    assert studies.wait(study_id)["progress"]["runs"]["cancelled"] == 2


@pytest.fixture(scope="module")
def undisturbed(studies: Studies) -> tuple[Json, list[Any]]:
    """A study of some seconds, and all that it comes to."""
    spec = {
        "base": digits(steps=8_000, record={"every": 50, "eval_every": 1000}),
        "sweep": {"optimizer.lr": {"log": [1e-4, 1e-2], "count": 4}},
        "repeats": 2,
    }
    study = studies.run(spec)
    return spec, studies.all_bytes(study)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_goes_away_changes_no_bit_of_a_study(
    service: Service,
    studies: Studies,
    undisturbed: tuple[Json, list[Any]],
    how: signal.Signals,
) -> None:
    spec, expected = undisturbed
    study_id = studies.post(spec)
    studies.until(study_id, lambda study: study["progress"]["step"] > 2_000)
    studies.until(study_id, lambda _: pids_at_work(service, study_id))
    assert not studies.get(study_id)["finished_at"]
    for pid in pids_at_work(service, study_id):
        os.kill(pid, how)
    study = studies.wait(study_id)
    assert study["status"] == "succeeded", study["error"]
    assert study["progress"]["step"] == 8 * 8_000
    assert studies.all_bytes(study) == expected
