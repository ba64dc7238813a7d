"""Uploads through the whole service: a job and a study on a CSV file."""

import json
import math
from typing import Any

import numpy as np
import pytest

from tests.e2e.client import Json, Service

SOURCE = np.random.default_rng(3)
FEATURES = SOURCE.normal(size=(80, 3)) * [1.0, 20.0, 0.2]
TARGETS = FEATURES @ [1.5, -0.2, 8.0] + 2.0 + SOURCE.normal(size=80)


def csv() -> bytes:
    rows = np.column_stack([FEATURES, TARGETS]).tolist()
    lines = [",".join(map(repr, row)) for row in rows]
    return ("\n".join(["a,b,c,price", *lines]) + "\n").encode()


def regression(data: Json, **changes: Any) -> Json:
    problem = {
        "kind": "supervised",
        "data": {"kind": "dataset", "id": data["id"], "target": "price", "eval_fraction": 0.0},
        "model": {"kind": "linear"},
    }
    optimizer = {"kind": "sgd", "lr": 0.2}
    options: Json = {"batch_size": "full", "precision": "float64", "budget": {"max_steps": 300}}
    return {"problem": problem, "optimizer": optimizer, **options, **changes}


def least_squares() -> float:
    """The smallest mean squared error of a linear map, by NumPy."""
    design = np.column_stack([FEATURES, np.ones(len(FEATURES))])
    _, residual, _, _ = np.linalg.lstsq(design, TARGETS, rcond=None)
    return float(residual[0]) / len(FEATURES)


def test_a_job_on_an_uploaded_csv_finds_the_least_squares(service: Service) -> None:
    data = service.upload(csv(), name="prices", label="suite:e2e")
    assert [column["name"] for column in data["columns"]] == ["a", "b", "c", "price"]
    job = service.run(regression(data))
    assert job["result"]["final_loss"] == pytest.approx(least_squares(), rel=1e-6)
    assert job["data"] == {
        "num_rows": {"train": 80, "eval": 0, "test": 0}, "num_features": 3, "classes": None,
    }  # fmt: skip
    again = service.run(job["spec"])
    for name in ("loss", "grad_norm"):
        assert service.series(again["id"], name) == service.series(job["id"], name)
    metadata = service.http.get(f"/v1/jobs/{job['id']}/model").content[:5_000]
    assert b"preprocessing" in metadata
    rows = service.http.get(f"/v1/datasets/{data['id']}/preview?rows=2").json()["rows"]
    assert rows == [
        dict(zip(("a", "b", "c", "price"), [*FEATURES[i].tolist(), TARGETS[i]], strict=True))
        for i in range(2)
    ]


def study_of(service: Service, base: Json, sweep: Json) -> str:
    """The path of a study that has succeeded."""
    study = {"base": base, "sweep": sweep, "metric": {"name": "loss"}}
    reply = service.http.post("/v1/studies", json=study)
    assert reply.status_code == 202, reply.text
    path: str = reply.json()["links"]["self"]
    done = service.http.get(path, params={"wait": 60}).json()
    assert done["status"] == "succeeded", done
    assert '"stored"' not in json.dumps(done)
    return path


def test_a_study_on_an_upload_trains_its_runs_together(service: Service) -> None:
    data = service.upload(csv())
    path = study_of(service, regression(data), {"optimizer.lr": {"values": [0.05, 0.1, 0.2]}})
    runs = service.http.get(f"{path}/runs").json()["data"]
    assert [run["fused"] for run in runs] == [True] * 3
    best = service.http.get(f"{path}/best").json()
    alone = service.run(best)
    assert alone["result"]["final_loss"] == pytest.approx(least_squares(), rel=1e-4)
    metric = service.http.get(f"{path}/runs", params={"sort": "metric"}).json()["data"][0]
    assert metric["metric"] == pytest.approx(alone["result"]["final_loss"], rel=1e-9)
    weights = service.http.get(f"{path}/runs/0/model").content[:5_000]
    assert b"preprocessing" in weights
    assert b"stored" not in weights


def test_a_study_sweeps_the_columns_of_an_upload(service: Service) -> None:
    data = service.upload(csv())
    wanted = [["a", "b", "c"], ["c", "a"], ["b"]]
    sweep = {"problem.data.features": {"values": wanted}}
    path = study_of(service, regression(data), sweep)
    for number, names in enumerate(wanted):
        run = service.http.get(f"{path}/runs/{number}").json()
        assert '"stored"' not in json.dumps(run)
        assert run["spec"]["problem"]["data"]["features"] == names
        assert run["result"]["num_parameters"] == len(names) + 1
        alone = service.run(run["spec"])
        assert alone["result"]["final_loss"] == pytest.approx(run["result"]["final_loss"], rel=1e-9)


def test_a_split_by_a_column_is_tested_at_the_end(service: Service) -> None:
    """Least squares of the training rows, by NumPy, has these errors on the rows of the test."""
    rows = np.column_stack([np.arange(80) % 5, FEATURES, TARGETS]).tolist()
    lines = [",".join([str(int(fold)), *map(repr, cells)]) for fold, *cells in rows]
    data = service.upload(("\n".join(["fold,a,b,c,price", *lines]) + "\n").encode())
    split = {"kind": "column", "name": "fold", "eval": [3], "test": [4]}
    body = regression(data)
    body["problem"]["data"] |= {"split": split, "eval_fraction": None, "scale_targets": True}
    job = service.run(body)
    assert job["data"]["num_rows"] == {"train": 48, "eval": 16, "test": 16}
    assert job["data"]["num_features"] == 3
    fold = np.arange(80) % 5
    design = np.column_stack([FEATURES, np.ones(80)])
    weights, *_ = np.linalg.lstsq(design[fold < 3], TARGETS[fold < 3], rcond=None)
    squares = np.square(design @ weights - TARGETS)
    wanted = {part: math.sqrt(squares[fold == part].mean()) for part in (3, 4)}
    assert job["result"]["eval"]["rmse"] == pytest.approx(wanted[3], rel=1e-4)
    test = job["result"]["test"]
    assert test["final"]["rmse"] == pytest.approx(wanted[4], rel=1e-4)
    assert test["final"]["step"] == 300
    assert test["best"]["step"] == job["best"]["step"]
    again = service.run(job["spec"])
    assert again["result"]["test"] == test


def test_a_study_sweeps_folds_and_tells_of_the_test(service: Service) -> None:
    data = service.upload(csv())
    base = regression(data)
    base["problem"]["data"]["split"] = {"kind": "folds", "num": 4}
    del base["problem"]["data"]["eval_fraction"]
    sweep = {"problem.data.split.fold": {"values": [0, 1, 2, 3]}}
    path = study_of(service, base, {**sweep, "optimizer.lr": {"values": [0.2, 1e-4]}})
    rows = service.http.get(f"{path}/comparison").json()["configurations"]
    assert [row["num_runs"] for row in rows] == [4, 4]
    assert service.http.get(f"{path}/best").json()["optimizer"]["lr"] == 0.2
    runs = service.http.get(f"{path}/runs", params={"limit": 100}).json()["data"]
    runs = [run for run in runs if run["params"]["optimizer.lr"] == 0.2]
    evaluated = [run["result"]["eval"]["rmse"] for run in runs]
    assert len(set(evaluated)) == 4
    assert [run["result"]["test"] for run in runs] == [None] * 4

    base["problem"]["data"]["split"] = {"kind": "fraction", "eval": 0.2, "test": 0.2}
    path = study_of(service, base, {"optimizer.lr": {"values": [0.1, 0.2]}})
    runs = service.http.get(f"{path}/runs").json()["data"]
    rows = service.http.get(f"{path}/comparison").json()["configurations"]
    for row in rows:
        test = runs[row["configuration"]]["result"]["test"]
        assert row["test"]["num"] == 1
        assert row["test"]["final"]["rmse"] == test["final"]["rmse"]
        assert row["test"]["best"]["loss"] == test["best"]["loss"]
    study = {"base": base, "sweep": {}, "metric": {"name": "test.loss"}}
    reply = service.http.post("/v1/studies", json=study)
    assert reply.status_code == 422
    assert "nothing is chosen by it" in reply.text
