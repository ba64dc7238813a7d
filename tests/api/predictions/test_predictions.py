"""Calls for predictions and models in other forms, beside a worker that answers as a test says."""

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from jsonschema_rs import Draft202012Validator
from safetensors.numpy import save

from core.artifacts.local import LocalJob
from core.ids import rfc3339, utc_now
from core.store.protocols.types import UseClaim, WorkerInfo
from core.uses.record import INPUT_NAME, ONNX_NAME, RESULT_NAME
from tests.api.actors import Api, Json, digits, problem_of, refused_params, rosenbrock

SPECIES = ["setosa", "=1+1", "virginica"]
NAMES = ["a", "b", "c", "d"]
ROW = [5.1, 3.5, 1.4, 0.2]


def iris() -> Json:
    spec = digits()
    spec["problem"]["data"]["name"] = "iris"
    return spec


def ended(api: Api, spec: Json | None = None, **about: Any) -> str:
    """The path of a job that has ended, with weights whose metadata say what its columns are."""
    job = api.post(iris() if spec is None else spec)
    claim = api.worker.claim()
    metadata = {"feature_names": json.dumps(NAMES), "class_names": json.dumps(SPECIES), "step": "9"}
    metadata |= {name: json.dumps(value) for name, value in about.items()}
    weights = save({"output.weight": np.zeros((3, 4), "f4")}, metadata)
    for name, step in (("initial", 0), ("final", 9)):
        api.worker.save(claim, weights, name=name, step=step)
    api.worker.close(claim, result={"num_steps": 9, "train_s": 1.0})
    return f"/v1/jobs/{job['id']}"


def taken(api: Api) -> UseClaim:
    claim = api.worker.store.uses.claim("worker-1", ("cpu",), 60.0)
    assert claim is not None
    return claim


def answered(api: Api, claim: UseClaim, metrics: Json | None = None) -> None:
    """Write what a worker would have made of two rows."""
    buffer = io.BytesIO()
    shares = np.array([[0.25, 0.5, 0.25], [np.nan] * 3])
    np.savez(buffer, **{"class": np.array([1, -1]), "probabilities": shares})  # type: ignore[arg-type]
    LocalJob(api.worker.artifacts, claim.use.id).write(RESULT_NAME, [buffer.getvalue()])
    found = {"classes": SPECIES, "target_names": [], "step": 9, "metrics": metrics, "unseen": {}}
    api.worker.store.uses.finish(claim, found, 1_000)


def test_rows_are_queued_and_read_once_they_are_made(api: Api, document: Json) -> None:
    path = ended(api)
    before = api.dispatcher.announced
    reply = api.http.post(f"{path}/predictions", json={"features": [ROW, ROW]})
    assert reply.status_code == 202, reply.text
    queued = reply.json()
    at = f"/v1/predictions/{queued['id']}"
    assert (reply.headers["location"], reply.headers["retry-after"]) == (at, "1")
    assert api.dispatcher.announced == before + 1
    assert (queued["status"], queued["data"], queued["num_rows"]) == ("queued", None, 2)
    for form in ("csv", "npz"):
        problem_of(api.http.get(at, params={"format": form}), 409, "not_ready")
    claim = taken(api)
    rows = np.load(io.BytesIO(LocalJob(api.worker.artifacts, claim.use.id).read(INPUT_NAME)))
    assert rows["matrix"].tolist() == [ROW, ROW]
    assert api.get(at)["status"] == "running"
    answered(api, claim, {"num_rows": 2, "loss": float("inf"), "accuracy": 0.5})
    found = api.get(at, wait=5)
    assert found["data"] == [
        {"class": "=1+1", "probabilities": [0.25, 0.5, 0.25]},
        {"class": None, "probabilities": ["NaN"] * 3},
    ]
    assert found["metrics"] == {"num_rows": 2, "loss": "Infinity", "accuracy": 0.5}
    assert found["expires_at"] > found["finished_at"]
    table = api.http.get(at, params={"format": "csv"})
    assert table.headers["content-type"].startswith("text/csv")
    first = table.text.splitlines()
    assert first[0] == "class,probability_setosa,probability_=1+1,probability_virginica"
    assert first[1] == "'=1+1,0.25,0.5,0.25"
    schema = {"$ref": "#/components/schemas/Prediction", "components": document["components"]}
    for each in (queued, found):
        assert list(Draft202012Validator(schema).iter_errors(each)) == []


def test_the_same_key_makes_one_prediction_and_leaves_no_rows(api: Api) -> None:
    path, key = ended(api), {"Idempotency-Key": "k"}
    bodies = {"features": [ROW]}, {"features": [ROW]}, {"features": [ROW, ROW]}
    first, again, other = (
        api.http.post(f"{path}/predictions", json=body, headers=key) for body in bodies
    )
    assert again.json()["id"] == first.json()["id"]
    assert again.headers["idempotent-replayed"] == "true"
    problem_of(other, 409, "idempotency_key_reused")
    kept = [folder.name for folder in api.worker.artifacts.glob("pred_*") if any(folder.iterdir())]
    assert kept == [first.json()["id"]]


@pytest.mark.parametrize(
    ("body", "params"),
    [
        ({}, ["features"]),
        ({"features": []}, ["features"]),
        ({"features": "x"}, ["features"]),
        ({"features": [ROW], "dataset": "data_" + "0" * 26}, ["dataset"]),
        ({"dataset": "data_" + "0" * 26}, ["dataset"]),
        ({"dataset": "data_" + "0" * 26, "targets": [1]}, ["targets"]),
        ({"features": [ROW], "rows": 1}, ["rows"]),
        ({"features": [ROW], "checkpoint": "last"}, ["checkpoint"]),
        ({"features": [ROW], "checkpoint": -1}, ["checkpoint"]),
        ({"features": [ROW[:3]]}, ["features[0]"]),
        ({"features": [ROW, [*ROW[:3], None]]}, ["features[1].d"]),
        ({"features": [ROW] * 6}, ["features"]),
        ({"features": [dict(zip("abcD", ROW, strict=True))]}, ["features[0].d", "features[0].D"]),
        ({"features": [ROW], "targets": ["rose"]}, ["targets[0]"]),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_kept(
    few_rows: Api, body: Json, params: list[str]
) -> None:
    path = ended(few_rows)
    assert refused_params(few_rows.http.post(f"{path}/predictions", json=body)) == params
    assert not list(few_rows.worker.artifacts.glob("pred_*"))
    assert few_rows.worker.store.uses.claim("w", ("cpu",), 60.0) is None


def forecast(api: Api) -> str:
    """A forecast of one value from windows of three rows of two."""
    spec = iris()
    rows = [[float(row), 1.0] for row in range(30)]
    data = {"kind": "inline", "features": [row[:1] for row in rows], "targets": [1.0] * 30}
    spec["problem"] = {"kind": "forecast", "data": data, "window": 3, "horizon": 1,
                       "model": {"kind": "linear"}}  # fmt: skip
    names = [f"{name}[{time}]" for time in (-2, -1, 0) for name in ("heat", "load")]
    return ended(api, spec, feature_names=names)


def language(api: Api) -> str:
    """A model of a language of three characters and all others."""
    spec = iris()
    spec["problem"] = {"kind": "language_model", "data": {"kind": "text", "text": "abc" * 90},
                       "model": {"kind": "gru"}}  # fmt: skip
    return ended(api, spec, tokenizer={"kind": "characters", "characters": "abc"})


def test_series_give_a_prediction_a_window_and_texts_one_each(api: Api) -> None:
    path = forecast(api)
    rows = [[1.0, 2.0]] * 5
    for windows, count, kept in ((None, 1, 3), ("last", 1, 3), ("all", 3, 5)):
        body = {"features": rows, "windows": windows}
        queued = api.http.post(f"{path}/predictions", json=body).json()
        assert queued["num_rows"] == count
        claim = taken(api)
        file = LocalJob(api.worker.artifacts, claim.use.id).read(INPUT_NAME)
        assert np.load(io.BytesIO(file))["matrix"].shape == (kept, 2)
    queued = api.http.post(f"{language(api)}/predictions", json={"features": ["ab", "x"]}).json()
    assert queued["num_rows"] == 2


@pytest.mark.parametrize(
    ("job", "body", "params"),
    [
        (forecast, {"features": [[1.0, 2.0]] * 2}, ["features"]),
        (forecast, {"features": [[1.0, 2.0]] * 6}, ["features"]),
        (forecast, {"features": [[1.0]] * 3}, [f"features[{row}]" for row in range(3)]),
        (forecast, {"features": ["a"] * 3}, [f"features[{row}]" for row in range(3)]),
        (forecast, {"features": [[1.0, 2.0]] * 3, "windows": "first"}, ["windows"]),
        (language, {"features": [[1.0, 2.0]]}, ["features[0]"]),
        (language, {"features": ["a", ""]}, ["features[1]"]),
        (language, {"features": "a"}, ["features"]),
        (language, {"features": ["a"], "targets": ["d"]}, ["targets[0]"]),
        (language, {"features": ["a"], "windows": "all"}, ["windows"]),
        (ended, {"features": ["a"]}, ["features[0]"]),
        (ended, {"features": [ROW], "windows": "last"}, ["windows"]),
    ],
)
def test_what_is_no_series_and_no_text_is_named(
    few_rows: Api, job: Callable[[Api], str], body: Json, params: list[str]
) -> None:
    path = job(few_rows)
    assert refused_params(few_rows.http.post(f"{path}/predictions", json=body)) == params
    assert not list(few_rows.worker.artifacts.glob("pred_*"))


@pytest.fixture
def few_rows(api: Api) -> Api:
    """At most five rows may be predicted at once."""
    services = api.http.app.state.services  # type: ignore[attr-defined]
    object.__setattr__(
        services, "settings", services.settings.model_copy(update={"max_prediction_rows": 5})
    )
    return api


def test_weights_that_there_are_not_are_told(api: Api) -> None:
    queued = api.post(iris())["id"]
    body = {"features": [ROW]}
    problem_of(api.http.post(f"/v1/jobs/{queued}/predictions", json=body), 409, "not_ready")
    api.http.post(f"/v1/jobs/{queued}/cancel")
    path = ended(api)
    for checkpoint, code in (("best", "not_ready"), (5, "no_checkpoint")):
        reply = api.http.post(f"{path}/predictions", json={**body, "checkpoint": checkpoint})
        problem_of(reply, 409, code)
    function = ended(api, rosenbrock())
    problem_of(api.http.post(f"{function}/predictions", json=body), 409, "no_model")
    reply = api.http.get(f"{function}/model", params={"format": "onnx"})
    problem_of(reply, 409, "not_exportable")


def alive(api: Api) -> None:
    now = rfc3339(utc_now())
    info = WorkerInfo("worker-1", ("cpu",), ("cpu",), None, now, now, 1)
    api.worker.store.report_worker(info, 60.0)


def test_a_model_is_exported_once_and_a_failure_is_told_once(api: Api) -> None:
    path = ended(api)

    def ask(**headers: str) -> Any:
        return api.http.get(f"{path}/model", params={"format": "onnx"}, headers=headers)

    problem_of(ask(), 503, "no_worker")
    alive(api)
    for _ in range(2):
        reply = ask()
        assert (reply.status_code, reply.headers["retry-after"]) == (202, "1")
        assert reply.json() == {"status": "queued", "format": "onnx", "checkpoint": "final"}
    claim = taken(api)
    error = {"code": "out_of_memory", "message": "No memory.", "param": None}
    api.worker.store.uses.fail(claim, error)
    assert "No memory." in problem_of(ask(), 409, "export_failed")["detail"]
    assert ask().status_code == 202
    claim = taken(api)
    assert api.worker.store.uses.claim("w", ("cpu",), 60.0) is None
    LocalJob(api.worker.artifacts, claim.use.id).write(ONNX_NAME, [b"onnx"])
    api.worker.store.uses.finish(claim, {}, 4)
    reply = ask()
    assert (reply.status_code, reply.content) == (200, b"onnx")
    assert reply.headers["content-disposition"].endswith('-final.onnx"')
    assert ask(**{"If-None-Match": reply.headers["etag"]}).status_code == 304
    assert ask(Range="bytes=1-2").content == b"nn"


def test_a_card_shows_names_and_notes_as_they_are(api: Api) -> None:
    path = ended(api)
    changes = {"name": "best | *of* all", "note": "<b>bold</b>\nlines", "labels": {"team": "a|b"}}
    assert api.http.patch(path, json=changes).status_code == 200
    reply = api.http.get(f"{path}/model", params={"format": "card"})
    assert reply.headers["content-type"].startswith("text/markdown")
    lines = reply.text.splitlines()
    assert lines[0] == r"# best \| \*of\* all"
    assert r"> \<b\>bold\</b\>" in lines
    assert r"| Label team | a\|b |" in lines
    assert "| Weights | final, after 9 updates |" in lines
    spec = json.loads(reply.text.rpartition("```json\n")[2].partition("\n```")[0])
    assert api.http.post("/v1/jobs/validate", json=spec).status_code == 200
