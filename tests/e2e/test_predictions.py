"""Predictions and exports through the whole service, against the job's own figures, plain torch on
the downloaded weights, and onnxruntime."""

import io
import json
import zipfile
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_iris
from sklearn.metrics import confusion_matrix

from tests.e2e.client import Json, Service

IRIS = load_iris()
ROWS = IRIS.data
SPECIES = [str(name) for name in IRIS.target_names]

Array = NDArray[np.float64]


@pytest.fixture(scope="module")
def job(service: Service) -> Json:
    """A job on all of iris."""
    return service.run(
        {
            "problem": {
                "kind": "supervised",
                "data": {"kind": "builtin", "name": "iris", "eval_fraction": 0.2},
                "model": {"kind": "mlp", "hidden": [8], "activation": "tanh"},
            },
            "optimizer": {"kind": "adam", "lr": 0.05},
            "batch_size": "full",
            "budget": {"max_steps": 60},
            "checkpoint": {"every_steps": 20},
        }
    )


def predicted(service: Service, path: str, body: Json) -> Json:
    """The prediction that a call makes, once it is done."""
    reply = service.http.post(f"{path}/predictions", json=body, params={"wait": 60})
    assert reply.status_code == 200, reply.text
    found: Json = reply.json()
    assert found["status"] == "succeeded", found
    assert reply.headers["location"] == f"/v1/predictions/{found['id']}"
    return found


def weights_of(service: Service, path: str, **query: Any) -> tuple[dict[str, Array], Json]:
    data = service.http.get(f"{path}/model", params=query).content
    file = io.BytesIO(data)
    tensors = {}
    size = int.from_bytes(file.read(8), "little")
    header = json.loads(file.read(size))
    metadata = {name: json.loads(text) if text[:1] in "[{" else text
                for name, text in header.pop("__metadata__").items()}  # fmt: skip
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        flat = np.frombuffer(data[8 + size + begin : 8 + size + end], "<f4")
        tensors[name] = flat.reshape(entry["shape"]).astype(np.float64)
    return tensors, metadata


def by_hand(service: Service, path: str, rows: Array, **query: Any) -> Array:
    """Logits of iris by NumPy, from the downloaded file."""
    weights, metadata = weights_of(service, path, **query)
    scaling = metadata["standardization"]
    x = (rows - scaling["mean"]) / scaling["scale"]
    (w1, b1), (w2, b2) = [
        (weights[f"{name}.weight"], weights[f"{name}.bias"])
        for name in sorted({key.rpartition(".")[0] for key in weights})
    ]
    return np.asarray(np.tanh(x @ w1.T + b1) @ w2.T + b2)


def softmax(logits: Array) -> Array:
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(shifted / shifted.sum(1, keepdims=True))


@pytest.mark.parametrize("checkpoint", ["final", "initial", 40])
def test_rows_of_numbers_get_what_numpy_makes_of_the_weights(
    service: Service, job: Json, checkpoint: str | int
) -> None:
    path = job["links"]["self"]
    found = predicted(service, path, {"features": ROWS.tolist(), "checkpoint": checkpoint})
    expected = softmax(by_hand(service, path, ROWS, checkpoint=checkpoint))
    np.testing.assert_allclose([row["probabilities"] for row in found["data"]], expected, atol=1e-6)
    assert [row["class"] for row in found["data"]] == [SPECIES[i] for i in expected.argmax(1)]
    assert (found["classes"], found["num_rows"], found["metrics"]) == (SPECIES, 150, None)
    assert found["step"] == {"final": 60, "initial": 0, 40: 40}[checkpoint]
    assert found["job_id"] == job["id"]


def flowers(rows: Array, targets: list[int] | None = None) -> bytes:
    """A table of iris with a column of texts, and what the flowers are where that is told."""
    names = ["a", "b", "c", "d", "wide", *([] if targets is None else ["kind"])]
    lines = [",".join(names)]
    for number, row in enumerate(rows.tolist()):
        cells = [*map(repr, row), "yes!" if row[1] > 3 else "no!"]
        lines.append(",".join(cells if targets is None else [*cells, SPECIES[targets[number]]]))
    return ("\n".join(lines) + "\n").encode()


@pytest.fixture(scope="module")
def of_upload(service: Service) -> tuple[Json, Json]:
    """A data set of all flowers, and a job that was trained on it."""
    data = service.upload(flowers(ROWS, IRIS.target.tolist()))
    source = {"kind": "dataset", "id": data["id"], "target": "kind", "missing": "mean",
              "split": {"kind": "fraction", "eval": 0.2}}  # fmt: skip
    model = {"kind": "mlp", "hidden": [8]}
    spec: Json = {
        "problem": {"kind": "supervised", "data": source, "model": model},
        "optimizer": {"kind": "adam", "lr": 0.05},
        "batch_size": "full",
        "budget": {"max_steps": 60},
    }
    return data, service.run(spec)


def test_a_data_set_is_predicted_with_its_metrics(
    service: Service, of_upload: tuple[Json, Json]
) -> None:
    data, job = of_upload
    path = job["links"]["self"]
    found = predicted(service, path, {"dataset": data["id"]})
    classes = [row["class"] for row in found["data"]]
    truth = [SPECIES[number] for number in IRIS.target]
    table = confusion_matrix(truth, classes, labels=SPECIES).tolist()
    assert found["metrics"]["confusion_matrix"] == table
    assert found["metrics"]["accuracy"] == pytest.approx(np.trace(table) / 150)
    named = [dict(zip("abcd", row, strict=True), wide="yes!" if row[1] > 3 else "no!")
             for row in ROWS.tolist()]  # fmt: skip
    again = predicted(service, path, {"features": named})
    assert again["data"] == found["data"]
    assert again["metrics"] is None
    named[0] |= {"wide": "who knows"}
    other = predicted(service, path, {"features": named[:2]})
    assert other["unseen"] == {"wide": ["who knows"]}
    assert other["data"][1] == found["data"][1]


def pictures(rows: Array, kinds: list[str]) -> bytes:
    """A zip of grey images, 6 pixels high and 5 wide, in a folder a kind."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for number, (row, kind) in enumerate(zip(rows, kinds, strict=True)):
            image = io.BytesIO()
            pixels = np.resize(row * 30, (6, 5)).astype(np.uint8)
            Image.fromarray(pixels).save(image, "PNG")
            file.writestr(f"{kind}/{number:03}.png", image.getvalue())
    return buffer.getvalue()


@pytest.mark.parametrize("size", [None, 4, [9, 3]])
def test_images_of_a_data_set_are_scaled_as_in_training(service: Service, size: Any) -> None:
    """Their classes are those of the folders, of each folder alone too."""
    truth = [SPECIES[number] for number in IRIS.target]
    data = service.upload(pictures(ROWS, truth), "application/zip")
    source: Json = {"kind": "dataset", "id": data["id"], "split": {"kind": "tail", "eval": 0.2}}
    if size is not None:
        source["image_size"] = size
    spec: Json = {
        "problem": {"kind": "supervised", "data": source, "model": {"kind": "linear"}},
        "optimizer": {"kind": "adam", "lr": 0.05},
        "budget": {"max_steps": 30},
        "record": {"metrics": ["accuracy", "confusion_matrix"]},
    }
    job = service.run(spec)
    path = job["links"]["self"]
    found = predicted(service, path, {"dataset": data["id"]})
    order = np.argsort(truth, kind="stable")
    table = np.array(found["metrics"]["confusion_matrix"])
    assert table.sum(axis=1).tolist() == [50, 50, 50]
    shown = service.http.get(f"/v1/datasets/{data['id']}/preview?rows=3").json()["rows"]
    posted = predicted(service, path, {"features": [{"image": row["image"]} for row in shown]})
    for one, other in zip(posted["data"], found["data"], strict=False):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)
    held_out = [row["class"] for row in found["data"][-30:]]
    right = np.mean([held_out[at] == truth[order[120 + at]] for at in range(30)])
    assert job["result"]["eval"]["accuracy"] == pytest.approx(right)
    one = service.upload(pictures(ROWS[50:100], truth[50:100]), "application/zip")
    alone = predicted(service, path, {"dataset": one["id"]})
    assert alone["metrics"]["confusion_matrix"] == [[0] * 3, table[1].tolist(), [0] * 3]
    new = service.upload(pictures(ROWS[50:100], ["new"] * 50), "application/zip")
    unlabelled = predicted(service, path, {"dataset": new["id"]})
    assert (unlabelled["data"], unlabelled["metrics"]) == (alone["data"], None)
    mixed = service.upload(pictures(ROWS[50:52], ["new", "setosa"]), "application/zip")
    refused = service.http.post(f"{path}/predictions", json={"dataset": mixed["id"]})
    assert refused.status_code == 422
    (mistake,) = refused.json()["errors"]
    assert mistake["code"] == "unknown_class"
    assert "put all images into one folder" in mistake["message"]


@pytest.mark.parametrize("names", [("no", "yes"), (1, 2), (-1, 1), ("false", "true")])
def test_several_labels_are_known_by_their_names(service: Service, names: tuple[Any, Any]) -> None:
    """The metrics of a part are of its rows, whichever values its columns have."""
    labels = np.array([ROWS[:, 0] > 5.8, ROWS[:, 2] > 4.3]).T.astype(int)

    def table(chosen: NDArray[np.bool_]) -> bytes:
        cells = np.array(names, dtype=object)[labels[chosen]].tolist()
        rows = [[*row, *of] for row, of in zip(ROWS[chosen].tolist(), cells, strict=True)]
        return "\n".join([",".join(map(str, row)) for row in [[*"abcdlm"], *rows]]).encode()

    data = service.upload(table(np.ones(150, dtype=bool)))
    source = {"kind": "dataset", "id": data["id"], "target": ["l", "m"]}
    spec: Json = {
        "problem": {"kind": "supervised", "data": source, "model": {"kind": "linear"},
                    "loss": {"kind": "binary_cross_entropy"}},
        "optimizer": {"kind": "adam", "lr": 0.05},
        "budget": {"max_steps": 60},
    }  # fmt: skip
    path = service.run(spec)["links"]["self"]
    found = predicted(service, path, {"dataset": data["id"]})
    classes = np.array([row["class"] for row in found["data"]])
    assert found["metrics"]["accuracy"] == pytest.approx((classes == labels).all(1).mean())
    for both in (0, 1):
        chosen = (labels == both).all(axis=1)
        part = service.upload(table(chosen))
        alone = predicted(service, path, {"dataset": part["id"]})
        expected = (classes[chosen] == both).all(1).mean()
        assert alone["metrics"]["accuracy"] == pytest.approx(expected)
        assert alone["metrics"]["loss"] > 0


def test_predictions_are_read_in_four_forms(service: Service, job: Json) -> None:
    path = job["links"]["self"]
    found = predicted(service, path, {"features": ROWS[:3].tolist()})
    at = f"/v1/predictions/{found['id']}"

    def read(form: str) -> bytes:
        reply = service.http.get(at, params={"format": form})
        assert reply.status_code == 200, reply.text
        return reply.content

    table = [line.split(",") for line in read("csv").decode().splitlines()]
    assert table[0] == ["class", *(f"probability_{name}" for name in SPECIES)]
    rows = [json.loads(line) for line in read("ndjson").splitlines()]
    assert rows == found["data"] == json.loads(read("json"))["data"]
    for row, line in zip(rows, table[1:], strict=True):
        assert [row["class"], *row["probabilities"]] == [line[0], *map(float, line[1:])]
    with np.load(io.BytesIO(read("npz")), allow_pickle=False) as arrays:
        assert arrays["class"].tolist() == [row["class"] for row in rows]
        assert arrays["probabilities"].tolist() == [row["probabilities"] for row in rows]
        assert arrays["classes"].tolist() == SPECIES


def test_the_file_for_other_libraries_gives_the_same_outputs(
    service: Service, of_upload: tuple[Json, Json]
) -> None:
    _, job = of_upload
    path = f"{job['links']['self']}/model"
    reply = service.http.get(path, params={"format": "onnx"})
    while reply.status_code == 202:
        assert reply.headers["retry-after"] == "1"
        reply = service.http.get(path, params={"format": "onnx"})
    assert reply.status_code == 200, reply.text
    tag = {"If-None-Match": reply.headers["etag"]}
    assert service.http.get(path, params={"format": "onnx"}, headers=tag).status_code == 304
    session = onnxruntime.InferenceSession(reply.content)
    about = json.loads(session.get_modelmeta().custom_metadata_map["preprocessing.json"])
    (wide,) = [each for each in about["preprocessing"]["features"] if each["name"] == "wide"]
    assert wide["categories"] == ["no!", "yes!"]
    coded = np.column_stack([ROWS, ROWS[:, 1] <= 3, ROWS[:, 1] > 3, np.zeros(150)])
    for count in (1, 2, 7, 64):
        outputs = session.run(None, {"features": coded[:count].astype(np.float32)})[0]
        features = [[*row, "yes!" if row[1] > 3 else "no!"] for row in ROWS[:count].tolist()]
        found = predicted(service, job["links"]["self"], {"features": features})
        probabilities = [row["probabilities"] for row in found["data"]]
        np.testing.assert_allclose(softmax(outputs.astype(float)), probabilities, atol=1e-5)


def test_they_go_with_their_job(service: Service, job: Json) -> None:
    clone = service.run(job["spec"])
    path = clone["links"]["self"]
    found = predicted(service, path, {"features": ROWS[:1].tolist()})
    assert f"/v1/jobs/{clone['id']}" in service.http.get(f"{path}/model?format=card").text
    assert service.http.delete(path).status_code == 204
    assert service.http.get(f"/v1/predictions/{found['id']}").status_code == 404


def test_a_number_that_the_model_cannot_hold_is_refused_with_its_place(
    service: Service, job: Json
) -> None:
    path, row = f"/v1/jobs/{job['id']}/predictions", [5.1, 3.5, 1.4, 0.2]
    reply = service.http.post(path, json={"features": [row, [*row[:3], 1e300]]})
    assert reply.status_code == 422
    (error,) = reply.json()["errors"]
    assert error["code"] == "not_finite"
    assert error["param"].startswith("features[1].")
    assert all(each in error["message"] for each in ("1e+300", "float32", "float64"))
    lines = ["sepal length (cm),sepal width (cm),petal length (cm),petal width (cm)",
             ",".join(map(str, row)), "5.1,1e300,1.4,0.2"]  # fmt: skip
    data = service.http.post("/v1/datasets", content="\n".join(lines) + "\n",
                             headers={"Content-Type": "text/csv"}).json()  # fmt: skip
    reply = service.http.post(path, json={"dataset": data["id"]})
    assert reply.status_code == 422
    assert "row 1 (counted from 0)" in reply.json()["errors"][0]["message"]
