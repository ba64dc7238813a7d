"""The client against a real service: jobs, studies, histories, weights, errors."""

import asyncio
import itertools
import math
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

import thalweg
from thalweg import AsyncClient, Client, Job, Study
from thalweg.records import numbers

SPHERE: Any = {
    "problem": {"kind": "function", "function": {"kind": "sphere", "dim": 2}, "start": [1.0, -2.0]},
    "optimizer": {"kind": "sgd", "lr": 0.1},
    "budget": {"max_steps": 50},
}
DIGITS: Any = {
    "problem": {
        "kind": "supervised",
        "data": {"kind": "builtin", "name": "iris", "eval_fraction": 0.2},
        "model": {"kind": "mlp", "hidden": [8]},
    },
    "optimizer": {"kind": "adam", "lr": 0.01},
    "budget": {"max_steps": 40},
    "record": {"eval_every": 10},
}
STUDY: Any = {"base": SPHERE, "sweep": {"optimizer.lr": {"values": [0.01, 0.1]}}, "repeats": 2}


def create(client: Client, spec: Any, **changes: Any) -> Job:
    """Queue a job; what checkers know of a spec is tried in test_types.py."""
    changed: Any = {**spec, **changes}
    return client.jobs.create(changed)


@pytest.fixture
def done(client: Client) -> Job:
    return create(client, SPHERE).wait(60)


def test_a_job_goes_from_spec_to_numbers(client: Client) -> None:
    job = client.jobs.create(SPHERE)
    assert not job.ended or job.status == "succeeded"
    assert job.wait(60) is job
    assert (job.status, job.outcome) == ("succeeded", "budget_exhausted")
    # Gradient descent on x² + y² by hand: each step multiplies by 1 − 2·0.1.
    expected = 5.0 * 0.8 ** (2 * np.arange(50))
    history = job.history()
    assert history["step"].dtype == np.int64
    np.testing.assert_allclose(history["loss"], expected, rtol=1e-12)
    assert history["x"].shape == (50, 2)
    np.testing.assert_allclose(job.weights()["x"], [0.8**50, -2 * 0.8**50], rtol=1e-12)
    assert job.result is not None
    assert job.result["num_steps"] == 50


def test_a_history_has_all_pages_and_only_what_was_asked_for(client: Client) -> None:
    budget = {"max_steps": 20_500}
    job = create(client, SPHERE, optimizer={"kind": "sgd", "lr": 1e-9}, budget=budget).wait(120)
    losses = job.history(series="loss")
    assert list(losses) == ["step", "loss"]
    np.testing.assert_array_equal(losses["step"], np.arange(20_500))
    assert job.history(series=["loss", "lr"], after=20_490).num_rows == 9
    part = job.history(series="loss", after=100, until=15_100)
    assert part["step"].tolist() == list(range(101, 15_101))
    assert job.history(series="loss", after=100, until=15_100, points=50).num_rows <= 50
    view = job.history(points=100)
    assert 2 <= view.num_rows <= 100
    assert view["step"][-1] == 20_499


def test_numbers_that_are_not_finite_are_numbers(client: Client) -> None:
    job = create(client, SPHERE, optimizer={"kind": "sgd", "lr": 1e300}).wait(60)
    assert job.outcome == "diverged"
    assert not np.isfinite(job.history()["loss"][-1])
    assert job.latest is not None
    assert not math.isfinite(job.latest["loss"])
    assert numbers({"a": ["NaN", "-Infinity", "text"]})["a"][1:] == [-math.inf, "text"]


def test_evaluations_weights_and_checkpoints(client: Client, tmp_path: Path) -> None:
    job = client.jobs.create(DIGITS).wait(60)
    rows = job.history("eval")
    np.testing.assert_array_equal(rows["step"], [0, 10, 20, 30, 40])
    assert set(rows) >= {"loss", "accuracy"}
    final, best = job.weights(), job.weights("best")
    assert final.keys() == best.keys()
    assert all(array.dtype == np.float32 for array in final.values())
    path = job.save_weights(tmp_path / "w.safetensors", "initial")
    assert path.stat().st_size > 300
    assert {"final", "best", "initial"} <= {each["name"] for each in job.checkpoints()}
    assert job.plot().startswith(b"\x89PNG")
    assert b"<svg" in job.plot("lr", "svg")


def test_a_diagnosis_and_its_remedies_are_tried(client: Client) -> None:
    slow = {"optimizer": {"kind": "sgd", "lr": 0.0001}, "budget": {"max_steps": 300}}
    job = create(client, SPHERE, **slow).wait(60)
    assert job.verdict == "too_slow"
    diagnosis = job.diagnosis()
    assert diagnosis.verdict == "too_slow"
    assert any(each.status == "triggered" for each in diagnosis.findings)
    assert [each.patch for each in job.remedies] == [each.patch for each in diagnosis.remedies]
    child = job.remedies[0].apply().wait(60)
    assert child.parent_id == job.id
    better = child.diagnosis()
    assert better.data["compared_to_parent"]["verdict"] == "improved"
    steps = [each.steps and list(each.steps) for each in better.findings]
    assert steps == [each["steps"] for each in better.data["findings"]]
    assert any(steps)
    measured = job.diagnose(timeout_s=60)
    assert measured.data["measured"] is not None
    assert job.data["diagnosis"]["measured"] == measured.data["measured"]


def test_a_job_is_continued_cancelled_deleted(client: Client, done: Job) -> None:
    longer = done.continue_(max_steps=60).wait(60)
    np.testing.assert_array_equal(longer.history()["step"], np.arange(50, 60))
    endless = create(client, SPHERE, budget={"max_steps": 5_000_000})
    with pytest.raises(thalweg.WaitTimeoutError, match=r"after 0\.05 s"):
        endless.wait(0.05)
    endless.cancel().wait(120)
    assert endless.status == "cancelled"
    endless.delete()
    with pytest.raises(thalweg.NotFoundError):
        endless.refresh()
    with pytest.raises(thalweg.NotFoundError):
        client.jobs.get("job_00000000000000000000000000")


def test_a_job_is_paused_changed_and_cloned(client: Client) -> None:
    job = create(client, SPHERE, budget={"max_steps": 5_000_000})
    job.pause()
    while job.refresh().status != "paused":
        assert job.status in {"queued", "running"}
    job.update(name="mine", labels={"team": "vision"}, priority=7)
    assert (job.name, job.labels) == ("mine", {"team": "vision"})
    assert job.update(name=None).name is None
    with pytest.raises(thalweg.InvalidRequestError):
        job.update(nmae="x")
    with pytest.raises(thalweg.ConflictError):
        job.keep_checkpoint()
    child = job.clone({"budget": {"max_steps": 4}}, name="short").wait(60)
    assert (child.name, child.spec["optimizer"]) == ("short", job.spec["optimizer"])
    assert child.history()["step"].tolist() == [0, 1, 2, 3]
    assert job.resume().status in {"queued", "running"}
    assert job.cancel().wait(120).status == "cancelled"


def test_jobs_are_compared(client: Client) -> None:
    rates = [0.1, 0.2, 0.3]
    jobs = [
        create(client, SPHERE, optimizer={"kind": "sgd", "lr": lr}, labels={"test": "compared"})
        for lr in rates
    ]
    for job in jobs:
        job.wait(60)
    found = client.compare(jobs, baseline=jobs[0])
    assert [each["differs"] for each in found.jobs] == [{"optimizer.lr": lr} for lr in rates]
    assert found.baseline == jobs[0].id
    curves = found.curves()
    np.testing.assert_allclose(curves[jobs[1].id][:2], [5.0, 5.0 * 0.36])
    assert curves["x"][-1] == 49
    assert {row[0] for row in client.compare(label="test:compared").rows()} == {j.id for j in jobs}
    with pytest.raises(KeyError, match="the comparison has loss"):
        found.curves("accuracy")
    with pytest.raises(thalweg.InvalidRequestError):
        client.compare([jobs[0].id])
    assert "<polyline" in found._repr_html_()


def test_times_epochs_and_what_was_used(client: Client) -> None:
    job = client.jobs.create(DIGITS).wait(60)
    rows = job.history(series=["loss", "time_s", "epoch"])
    assert np.all(np.diff(rows["time_s"]) >= 0)
    assert rows["epoch"][-1] == pytest.approx(39 * 64 / 120, rel=0.2)
    assert set(job.history("system")) >= {"time_s", "cpu_percent"}
    used = client.usage()
    assert used["total"]["num_jobs"] >= 1
    assert used["data"][0]["device_s"] >= 0
    assert client.usage("label:team")["data"]


def test_lists_are_gone_through_page_by_page(client: Client) -> None:
    change = {"labels": {"test": "pages"}, "budget": {"max_steps": 1}}
    made = [create(client, SPHERE, **change).id for _ in range(5)]
    transport = client.jobs._transport
    found = transport.pages("/v1/jobs", lambda job: job["id"], {"label": ["test:pages"]}, None)
    assert list(found) == made[::-1]
    by_twos = [job.id for job in client.jobs.list(label="test:pages", limit=3)]
    assert by_twos == made[::-1][:3]
    assert list(client.jobs.list(label=["test:pages", "test:others"])) == []
    whole = list(itertools.islice(client.jobs.list(), 6))
    assert len(whole) == 6


def test_the_same_key_makes_one_job(client: Client) -> None:
    first = client.jobs.create(SPHERE, idempotency_key="the-same")
    assert client.jobs.create(SPHERE, idempotency_key="the-same").id == first.id
    assert client.jobs.create(SPHERE).id != client.jobs.create(SPHERE).id


def test_a_stream_tells_every_row_once_and_ends(done: Job) -> None:
    events = list(done.stream(series="loss"))
    assert [each.type for each in events if each.type != "points"][-1] == "end"
    rows = np.concatenate([each.rows["step"] for each in events if each.rows is not None])
    np.testing.assert_array_equal(rows, np.arange(50))
    later = [each.rows["step"] for each in done.stream(after=44) if each.rows is not None]
    np.testing.assert_array_equal(np.concatenate(later), np.arange(45, 50))


def test_a_study_goes_from_sweep_to_winner(client: Client, tmp_path: Path) -> None:
    study: Study = client.studies.create(STUDY).wait(90)
    assert study.status == "succeeded"
    runs = list(study.runs())
    assert [run.params for run in runs[::2]] == [{"optimizer.lr": 0.01}, {"optimizer.lr": 0.1}]
    assert next(study.runs(sort="metric", limit=1)).params == {"optimizer.lr": 0.1}
    run = study.run(3)
    np.testing.assert_allclose(run.history()["loss"][-1], 5.0 * 0.8**98)
    assert run.spec()["seed"] == run.data["seed"]
    assert "x" in run.weights()
    assert run.save_weights(tmp_path / "w").is_file()
    assert study.best()["optimizer"]["lr"] == 0.1
    assert client.jobs.create(study.best()).wait(60).status == "succeeded"
    assert study.comparison()["configurations"]
    assert study.importance()["method"] == "ped_anova"
    assert study.plot().startswith(b"\x89PNG")
    assert study.id in [each.id for each in client.studies.list()]
    assert client.studies.validate(STUDY)["estimate"]["num_runs"] == 4
    study.delete()
    with pytest.raises(thalweg.NotFoundError):
        client.studies.get(study.id)


def test_a_study_is_streamed_to_its_end(client: Client) -> None:
    study = client.studies.create(STUDY)
    events = list(study.stream())
    assert events[-1].type == "end"
    assert study.status == "succeeded"
    runs = {each.data["index"] for each in events if each.type == "run"}
    assert runs <= {0, 1, 2, 3}
    assert [each.type for each in study.stream(run=1)][-1] == "end"


def test_the_catalogue_and_the_service_are_read(client: Client) -> None:
    entries = client.catalog("optimizers")
    assert {"kind", "summary", "schema", "source", "supports", "example"} <= entries[0].keys()
    assert client.version()["version"] == thalweg.__version__
    assert client.workers()[0]["devices"] == ["cpu"]
    assert client.jobs.validate(SPHERE)["estimate"]["num_steps"] == 50


def test_both_clients_do_the_same(address: str) -> None:
    async def use() -> tuple[str, list[float], list[Any], str]:
        async with AsyncClient(address) as client:
            jobs = await asyncio.gather(*(client.jobs.create(SPHERE) for _ in range(5)))
            for job in jobs:
                await job.wait(60)
            history = await jobs[0].history()
            events = [event.type async for event in jobs[0].stream()]
            study = await (await client.studies.create(STUDY)).wait(90)
            params = [run.params async for run in study.runs(limit=2)]
            return events[-1], history["loss"][:2].tolist(), params, jobs[0].status

    last, losses, params, status = asyncio.run(use())
    assert (last, status) == ("end", "succeeded")
    assert losses == pytest.approx([5.0, 3.2])
    assert params == [{"optimizer.lr": 0.01}] * 2


MISTAKES: dict[str, tuple[Any, str, Any, str | None]] = {
    "a field": (
        {"optimizer": {"kind": "adam", "learning_rate": 0.5}},
        "optimizer.learning_rate", 0.5, "lr",
    ),
    "a field at the root": ({"buget": {"max_steps": 5}}, "buget", None, "budget"),
    "a kind": ({"optimizer": {"kind": "adamm"}}, "optimizer.kind", "adamm", "adam"),
    "a choice": ({"diagnose": "ful"}, "diagnose", "ful", "full"),
    "a number": ({"optimizer": {"kind": "sgd", "lr": -3}}, "optimizer.lr", -3, None),
    "a field deep down": (
        {"problem": {"kind": "function", "function": {"kind": "sphere", "dims": 4}}},
        "problem.function.dims", 4, "dim",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_gives_the_field_the_value_and_the_nearest_right_name(
    case: str, client: Client
) -> None:
    change, param, value, near = MISTAKES[case]
    with pytest.raises(thalweg.InvalidRequestError) as caught:
        create(client, SPHERE, **change)
    error = caught.value
    assert (error.status, error.code) == (422, "invalid_request")
    (mistake,) = error.errors
    assert (mistake.param, mistake.value, mistake.suggestion) == (param, value, near)
    said = str(error)
    assert param in said
    assert value is None or str(value) in said
    assert near is None or f"did you mean {near}?" in said.lower()


def test_all_mistakes_come_at_once(client: Client) -> None:
    wrong = {**STUDY, "repeets": 3, "sweep": {"optimizer.lrr": {"values": [1]}}}
    with pytest.raises(thalweg.InvalidRequestError) as caught:
        client.studies.create(cast("Any", wrong))
    assert len(caught.value.errors) == 2


def test_what_json_has_not_is_told_with_its_place_and_not_sent(client: Client) -> None:
    ring: list[Any] = []
    ring.append(ring)
    for value, said in (
        (math.nan, "seed is nan: give a finite number"),
        ([1, {"a": -math.inf}], r"seed\[1\].a is -inf"),
        (np.array([1.0, math.inf]), r"seed\[1\] is inf"),
        ({1, 2}, "seed is {1, 2}, a set, which JSON has not"),
        (b"x", "a bytes, which"),
        (ring, "holds itself"),
    ):
        with pytest.raises(thalweg.UnsendableError, match=said):
            create(client, SPHERE, seed=value)


@pytest.mark.parametrize(
    "odd", ["../../livez", "job_1?wait=60", "job_1/history", "#", "", "%2e", "job_ü", "a b", "\n"]
)
def test_an_id_is_one_step_of_a_path_whatever_it_holds(odd: str, client: Client) -> None:
    for get in (client.jobs.get, client.studies.get):
        with pytest.raises(thalweg.NotFoundError):
            get(odd)


def test_values_of_numpy_are_taken(client: Client) -> None:
    start, steps = np.array([1.0, 2.0]), np.int64(3)
    problem = {**SPHERE["problem"], "start": start}
    job = create(client, SPHERE, problem=problem, budget={"max_steps": steps})
    assert job.spec["problem"]["start"] == [1.0, 2.0]


IMPORT = """
import sys, thalweg
from thalweg import Client, Job
loaded = {"numpy", "pandas", "rich", "typer", "yaml", "safetensors"} & set(sys.modules)
sys.exit(str(loaded) if loaded else 0)
"""


def test_an_import_is_quick_and_brings_little() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", IMPORT], capture_output=True, text=True, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert done.returncode == 0, done.stderr
    assert took < 1.0  # of the processor; docs/figures.md has the measured figure
    for name in thalweg.__all__:
        assert getattr(thalweg, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Klient'"):
        getattr(thalweg, "Klient")  # noqa: B009
