"""Predictions by the client and the command, of rows in each form that they may have."""

import io
import json
import zipfile
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from tests.client.shell import Shell
from thalweg import Client, InvalidRequestError, Job, PredictionError, UnsendableError
from thalweg.predictions import MOST_CELLS, Predictions, features_of

ROWS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]
NAMES = [f"{part} {side} (cm)" for part in ("sepal", "petal") for side in ("length", "width")]
NAMED = [dict(zip(NAMES, row, strict=True)) for row in ROWS]
SPEC: Any = {
    "problem": {
        "kind": "supervised",
        "data": {"kind": "builtin", "name": "iris"},
        "model": {"kind": "linear"},
    },
    "optimizer": {"kind": "adam", "lr": 0.2},
    "batch_size": "full",
    "budget": {"max_steps": 100},
    "diagnose": "off",
}


@pytest.fixture(scope="module")
def trained(address: str) -> str:
    with Client(address) as client:
        return client.jobs.create(SPEC).wait(60).id


@pytest.fixture
def job(client: Client, trained: str) -> Job:
    return client.jobs.get(trained)


class Frame:
    """A frame with the methods of Polars that the client calls."""

    shape = (2, 4)

    def to_dicts(self) -> list[dict[str, Any]]:
        return NAMED

    def write_parquet(self, buffer: Any) -> None:
        raise AssertionError("small frames go with the request")


def test_rows_of_every_form_get_the_same(client: Client, job: Job, tmp_path: Path) -> None:
    found = job.predict(ROWS)
    assert found["class"].tolist() == ["setosa", "virginica"]
    assert found["probabilities"].shape == (2, 3)
    np.testing.assert_allclose(found["probabilities"].sum(axis=1), 1.0)
    assert found.classes == ["setosa", "versicolor", "virginica"]
    assert found.metrics is None
    csv = "\n".join([",".join(NAMES), *(",".join(map(str, row)) for row in ROWS)]) + "\n"
    (tmp_path / "rows.csv").write_text(csv)
    before = {each.id for each in client.datasets.list()}
    data = client.datasets.upload(tmp_path / "rows.csv")
    for rows in (np.array(ROWS), NAMED, Frame(), data, data.id, tmp_path / "rows.csv"):
        again = job.predict(rows)
        np.testing.assert_array_equal(again["probabilities"], found["probabilities"])
    there = {each.id for each in client.datasets.list()}
    assert there - before == {data.id}  # the file was for this alone
    data.delete()


def test_a_file_is_read_as_its_schema_says(job: Job, tmp_path: Path, shell_of: Shell) -> None:
    first = job.predict(ROWS)["probabilities"]
    rows = [";".join(NAMES), *(";".join(map(str, row)) for row in ROWS)]
    path, schema = tmp_path / "rows.csv", {"delimiter": ";", "decimal": ","}
    path.write_text("\n".join(rows).replace(".", ",") + "\n")
    np.testing.assert_array_equal(job.predict(path, schema=schema)["probabilities"], first)
    same = job.predict(path.read_bytes(), schema=schema, media_type="text/csv")
    np.testing.assert_array_equal(same["probabilities"], first)
    said = shell_of.json("predict", job.id, str(path), "--schema", json.dumps(schema))
    assert said["num_rows"] == 2
    for options in ({"schema": schema}, {"media_type": "text/csv"}):
        with pytest.raises(UnsendableError, match="not uploaded"):
            job.predict(ROWS, **options)


@pytest.mark.parametrize("ending", ["png", "JPG"])
def test_an_image_is_predicted_by_its_path(
    client: Client, tmp_path: Path, shell_of: Shell, ending: str
) -> None:
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as file:
        for number in range(8):
            bright = number % 2
            image = tmp_path / f"{number}.{ending}"
            Image.new("L", (4, 4), 200 * bright).save(image)
            file.write(image, f"{'light' if bright else 'dark'}/{image.name}")
    data = client.datasets.upload(zipped.getvalue(), media_type="application/zip")
    spec: Any = {
        **SPEC,
        "problem": {**SPEC["problem"], "data": {"kind": "dataset", "id": data.id}},
    }
    trained = client.jobs.create(spec).wait(60)
    for number, name in enumerate(("dark", "light")):
        path = tmp_path / f"{number}.{ending}"
        found = trained.predict(path)
        assert (found["class"].tolist(), found.metrics) == ([name], None)
        table = shell_of.run("predict", trained.id, str(path), "--csv").stdout
        assert table.split("\n")[1].startswith(name)


def test_targets_give_metrics_and_other_weights_others(job: Job) -> None:
    found = job.predict(ROWS, targets=np.array([0, 1]), checkpoint="initial")
    assert found.metrics is not None
    assert found.metrics["num_rows"] == 2
    assert np.array(found.metrics["confusion_matrix"]).sum() == 2
    first = job.predict(ROWS)["probabilities"]
    assert not np.array_equal(found["probabilities"], first)


def test_a_study_s_run_predicts_too(client: Client) -> None:
    sweep: Any = {"optimizer.lr": {"values": [0.1, 0.2]}}
    study = client.studies.create({"base": SPEC, "sweep": sweep}).wait(60)
    run = study.run(1)
    found = run.predict(ROWS)
    assert found.data["run"] == 1
    assert found["class"].tolist() == ["setosa", "virginica"]
    card, alone = run.card(), client.jobs.create(run.data["spec"]).wait(60).card()
    assert "# Run 1 of" in card
    told = "| Rows to train | 120 |\n| Rows to eval | 30 |\n| Rows to test | 0 |"
    assert told in card
    heading, following = "## Data", "\n## "
    assert card.split(heading)[1].split(following)[0] == alone.split(heading)[1].split(following)[0]


def test_a_model_is_written_as_onnx_and_told_of(job: Job, tmp_path: Path) -> None:
    path = job.save_onnx(tmp_path / "iris.onnx", timeout_s=100)
    logits = onnxruntime.InferenceSession(path).run(None, {"features": np.array(ROWS, "f4")})[0]
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shares, job.predict(ROWS)["probabilities"], atol=1e-5)
    assert "| Classes | setosa, versicolor, virginica |" in job.card()


def test_mistakes_are_named(client: Client, job: Job) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        job.predict([{**NAMED[0], NAMES[0]: "long"}])
    assert refused.value.errors[0].param == f"features[0].{NAMES[0]}"
    with pytest.raises(UnsendableError, match=r"rows\[None\]"):
        job.predict(np.array(ROWS[0]))
    flower = "\n".join([",".join([*NAMES]), ",".join(map(str, ROWS[0]))]) + "\n"
    data = client.datasets.upload(flower.encode(), media_type="text/csv")
    assert job.predict(data).num_rows == 1
    data.delete()
    error = PredictionError({"code": "data_unavailable", "message": "gone"})
    assert (error.code, str(error)) == ("data_unavailable", "gone")


def of_sequence(client: Client, problem: Any) -> Job:
    body: Any = {**SPEC, "problem": {**problem, "model": {"kind": "gru", "hidden_size": 4}},
            "budget": {"max_steps": 2}}  # fmt: skip
    return client.jobs.create(body).wait(60)


def test_a_series_and_a_text_are_gone_on_with(client: Client, shell_of: Shell) -> None:
    rows = [[float(row % 7), float(row % 3)] for row in range(40)]
    csv = "heat,load\n" + "\n".join(",".join(map(str, row)) for row in rows) + "\n"
    data = client.datasets.upload(csv.encode(), media_type="text/csv")
    table = {"kind": "dataset", "id": data.id, "target": "load"}
    series = {"kind": "forecast", "data": table, "window": 4, "horizon": 2}
    job = of_sequence(client, series)
    last = job.predict(data)
    assert (last["value"].shape, last.metrics) == ((1, 2), None)
    every = job.predict(data, windows="all")
    assert every["value"].shape == (37, 2)
    assert every.metrics is not None
    assert every.metrics["num_rows"] == 35
    for again in (job.predict(rows), job.predict(np.array(rows[-4:]))):
        np.testing.assert_array_equal(again["value"], last["value"])
    np.testing.assert_allclose(every["value"][-1:], last["value"], rtol=1e-6)
    lines = shell_of.run("predict", job.id, data.id, "--windows", "all").stdout.splitlines()
    assert (lines[0], len(lines)) == ("value_load[1],value_load[2]", 38)
    data.delete()
    text = {"kind": "language_model", "data": {"kind": "text", "text": "abcd" * 40}, "context": 5}
    job = of_sequence(client, text)
    found = job.predict(np.array(["ab", "abcdabc"]), targets=["c", "d"])
    assert found.classes == ["a", "b", "c", "d", "<other>"]
    assert found["probabilities"].shape == (2, 5)
    assert found.metrics is not None
    (shell_of.folder / "start.txt").write_text("abcdabc")
    (again,) = shell_of.json("predict", job.id, "start.txt")["data"]
    np.testing.assert_allclose(again["probabilities"], found["probabilities"][1], rtol=1e-5)


def test_the_command_predicts(shell_of: Shell, job: Job) -> None:
    rows = shell_of.folder / "rows.csv"
    rows.write_text("\n".join([",".join(NAMES), *(",".join(map(str, r)) for r in ROWS)]) + "\n")
    lines = shell_of.run("predict", job.id, "rows.csv").stdout.splitlines()
    names = [f"probability_{name}" for name in ("setosa", "versicolor", "virginica")]
    assert lines[0] == ",".join(["class", *names])
    assert [line.partition(",")[0] for line in lines[1:]] == ["setosa", "virginica"]
    found = shell_of.json("predict", job.id, "-", given=str(ROWS))
    assert [row["class"] for row in found["data"]] == ["setosa", "virginica"]
    said = shell_of.run("predict", job.id, "-", given="[[1, 2]]", status=1).stderr
    assert "features[0]: has 2 cells" in said


@pytest.fixture
def shell_of(address: str, tmp_path: Path) -> Shell:
    return Shell(address, tmp_path)


def test_cells_of_frames_are_what_json_has() -> None:
    class Pandas:
        shape = (1, 5)
        index = None

        def to_parquet(self) -> None: ...
        def to_dict(self, how: str) -> list[dict[Any, Any]]:
            assert how == "records"
            cells = (np.float64("nan"), np.int64(3), date(2026, 1, 2), np.bool_(True), "a")
            return [dict(enumerate(cells))]

    assert features_of(Pandas()) == [{"0": None, "1": 3, "2": "2026-01-02", "3": True, "4": "a"}]
    large = Pandas()
    large.shape = (MOST_CELLS, 2)
    assert features_of(large) is None
    assert features_of(b"a,b") is None


def test_a_table_runs_nothing_in_a_spreadsheet() -> None:
    reply: Any = {
        "id": "pred_1", "classes": ["=a", "b"], "target_names": [], "metrics": None, "unseen": {},
        "data": [{"class": "=a", "probabilities": [0.75, 0.25]}],
    }  # fmt: skip
    table = Predictions(reply).to_csv()
    assert table == "class,probability_=a,probability_b\r\n'=a,0.75,0.25\r\n"
    values: Any = {**reply, "classes": None, "data": [{"value": "NaN"}, {"value": -1.5}]}
    assert Predictions(values).to_csv() == "value\r\nnan\r\n-1.5\r\n"
