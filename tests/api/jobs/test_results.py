"""Weights, checkpoints, diagnosis and pictures."""

import hashlib
from typing import Any

import pytest

from tests.api.actors import Api, Json, digits, problem_of, refused_params, rosenbrock

WEIGHTS = bytes(range(256)) * 10_000


def with_rows(
    api: Api, spec: Json | None = None, num_rows: int = 20, diagnosis: Json | None = None
) -> str:
    job_id: str = api.post(spec)["id"]
    claim = api.worker.claim()
    steps = range(num_rows)
    columns: Json = {
        "step": steps,
        "loss": [1 / (1 + step) for step in steps],
        "lr": [0.1] * num_rows,
        "grad_norm": [1.0] * num_rows,
    }
    if spec is None or spec["problem"]["kind"] == "function":
        columns["x"] = [[step / 10, 1.0] for step in steps]
    api.worker.append(claim, **columns)
    found: Json = {} if diagnosis is None else {"diagnosis": diagnosis}
    api.worker.close(claim, **found)
    return job_id


def saved_job(api: Api, *names: str, closed: bool = True) -> str:
    """A job with weights under these names; each has other bytes."""
    job_id: str = api.post()["id"]
    claim = api.worker.claim()
    for step, name in enumerate(names):
        api.worker.save(claim, WEIGHTS + name.encode(), name=name, step=step)
    if closed:
        api.worker.close(claim)
    return job_id


@pytest.mark.parametrize("name", ["initial", "best", "final"])
def test_weights_come_whole_with_their_length_and_name(api: Api, name: str) -> None:
    job_id = saved_job(api, "initial", "best", "final")
    reply = api.http.get(f"/v1/jobs/{job_id}/model", params={"checkpoint": name})
    assert reply.status_code == 200
    assert reply.content == WEIGHTS + name.encode()
    assert reply.headers["content-type"] == "application/octet-stream"
    assert reply.headers["content-length"] == str(len(reply.content))
    assert f'filename="{job_id}-{name}.safetensors"' in reply.headers["content-disposition"]
    assert reply.headers["etag"] == f'"{hashlib.sha256(reply.content).hexdigest()}"'
    assert reply.headers["x-content-type-options"] == "nosniff"


def test_the_final_weights_are_meant_where_nothing_is_said(api: Api) -> None:
    reply = api.http.get(f"/v1/jobs/{saved_job(api, 'initial', 'final')}/model")
    assert reply.content == WEIGHTS + b"final"


def test_weights_that_the_client_has_are_a_304(api: Api) -> None:
    path = f"/v1/jobs/{saved_job(api, 'final')}/model"
    tag = api.http.get(path).headers["etag"]
    reply = api.http.get(path, headers={"If-None-Match": f'"x", W/{tag}'})
    assert (reply.status_code, reply.content, reply.headers["etag"]) == (304, b"", tag)


def test_weights_of_a_running_job_have_no_etag_since_better_ones_may_come(api: Api) -> None:
    path = f"/v1/jobs/{saved_job(api, 'best', closed=False)}/model?checkpoint=best"
    reply = api.http.get(path)
    assert reply.status_code == 200
    assert "etag" not in reply.headers


def test_head_of_weights_reads_none(api: Api) -> None:
    reply = api.http.head(f"/v1/jobs/{saved_job(api, 'final')}/model")
    assert (reply.status_code, reply.content) == (200, b"")
    assert reply.headers["content-length"] == str(len(WEIGHTS) + 5)


ALL = WEIGHTS + b"final"
SIZE = len(ALL)


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=0-99", 0, 99),
        ("bytes=1000-", 1000, SIZE - 1),
        ("bytes=1048570-1048590", 1048570, 1048590),
        ("bytes=500-2200000", 500, 2200000),
        ("bytes=-5", SIZE - 5, SIZE - 1),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE - 1),
        (f"bytes=7-{10**30}", 7, SIZE - 1),
        (f"bytes=-{10**30}", 0, SIZE - 1),
        (f"bytes=0-{SIZE + 7}", 0, SIZE - 1),
        ("Bytes = 3 - 4", 3, 4),
    ],
)
def test_weights_come_in_part_too(api: Api, asked: str, first: int, last: int) -> None:
    path = f"/v1/jobs/{saved_job(api, 'final')}/model"
    whole = api.http.get(path)
    assert whole.headers["accept-ranges"] == "bytes"
    reply = api.http.get(path, headers={"Range": asked})
    assert reply.status_code == 206
    assert reply.content == ALL[first : last + 1]
    assert reply.headers["content-range"] == f"bytes {first}-{last}/{SIZE}"
    assert reply.headers["content-length"] == str(last - first + 1)
    assert reply.headers["etag"] == whole.headers["etag"]
    head = api.http.head(path, headers={"Range": asked})
    assert (head.status_code, head.headers["content-length"]) == (200, str(SIZE))


@pytest.mark.parametrize(
    "asked",
    ["bytes=", "bytes=-", "bytes=5-4", "bytes=a-b", "rows=0-5", "bytes=0-1,5-6", "", "bytes=0-1-2"],
)
def test_a_range_that_says_nothing_clear_gives_the_whole(api: Api, asked: str) -> None:
    path = f"/v1/jobs/{saved_job(api, 'final')}/model"
    reply = api.http.get(path, headers={"Range": asked})
    assert (reply.status_code, reply.content) == (200, ALL)


@pytest.mark.parametrize("asked", [f"bytes={SIZE}-", f"bytes={10**30}-", "bytes=-0"])
def test_a_range_behind_the_end_is_a_416(api: Api, asked: str) -> None:
    path = f"/v1/jobs/{saved_job(api, 'final')}/model"
    reply = api.http.get(path, headers={"Range": asked})
    problem_of(reply, 416, "range_not_satisfiable")
    assert reply.headers["content-range"] == f"bytes */{SIZE}"


def test_a_download_goes_on_only_where_the_bytes_are_the_same(api: Api) -> None:
    path = f"/v1/jobs/{saved_job(api, 'final')}/model"
    tag = api.http.get(path).headers["etag"]
    for sent, status in ((tag, 206), ('"other"', 200), (f"W/{tag}", 200), ("Mon, 1 Jan", 200)):
        reply = api.http.get(path, headers={"Range": "bytes=5-9", "If-Range": sent})
        assert reply.status_code == status
        assert reply.content == (ALL[5:10] if status == 206 else ALL)
    headers = {"Range": "bytes=5-9", "If-None-Match": tag}
    assert api.http.get(path, headers=headers).status_code == 304


def test_no_part_of_weights_that_may_be_replaced_meanwhile(api: Api) -> None:
    path = f"/v1/jobs/{saved_job(api, 'best', closed=False)}/model?checkpoint=best"
    reply = api.http.get(path, headers={"Range": "bytes=0-9"})
    assert (reply.status_code, reply.content) == (200, WEIGHTS + b"best")
    assert "accept-ranges" not in reply.headers


def test_weights_that_are_not_there_yet_are_a_409(api: Api) -> None:
    job_id = saved_job(api, "initial", "resume", closed=False)
    body = problem_of(api.http.get(f"/v1/jobs/{job_id}/model"), 409, "not_ready")
    assert "those that there are: initial." in body["detail"]
    queued = api.post()["id"]
    problem_of(api.http.get(f"/v1/jobs/{queued}/model?checkpoint=initial"), 409, "not_ready")


def test_weights_whose_file_is_gone_are_a_503_that_shows_no_path(api: Api) -> None:
    job_id = saved_job(api, "final")
    (api.worker.artifacts / job_id / "final.safetensors").unlink()
    reply = api.http.get(f"/v1/jobs/{job_id}/model")
    problem_of(reply, 503, "artifact_store_unavailable")
    assert str(api.worker.artifacts) not in reply.text
    assert int(reply.headers["retry-after"]) >= 1


def test_only_three_checkpoints_have_a_name(api: Api) -> None:
    reply = api.http.get(f"/v1/jobs/{saved_job(api, 'final')}/model?checkpoint=../../etc/passwd")
    assert refused_params(reply) == ["checkpoint"]


def test_checkpoints_are_listed_latest_first_without_their_paths(api: Api) -> None:
    job_id = saved_job(api, "initial", "resume", "best", "final")
    page = api.get(f"/v1/jobs/{job_id}/checkpoints")
    assert [(entry["name"], entry["step"]) for entry in page["data"]] == [
        ("final", 3),
        ("best", 2),
        ("resume", 1),
        ("initial", 0),
    ]
    assert page["data"][0] == {
        "name": "final",
        "step": 3,
        "metrics": {"loss": 0.5},
        "size_bytes": len(WEIGHTS) + 5,
        "sha256": hashlib.sha256(WEIGHTS + b"final").hexdigest(),
    }
    assert (page["has_more"], page["next_cursor"]) == (False, None)


def test_checkpoints_come_in_pages(api: Api) -> None:
    job_id = saved_job(api, "initial", "resume", "best", "final")
    path = f"/v1/jobs/{job_id}/checkpoints"
    first = api.get(path, limit=3)
    assert first["has_more"]
    second = api.get(path, limit=3, after=first["next_cursor"])
    assert [entry["step"] for entry in first["data"] + second["data"]] == [3, 2, 1, 0]
    assert not second["has_more"]
    other = saved_job(api, "final")
    reply = api.http.get(f"/v1/jobs/{other}/checkpoints", params={"after": first["next_cursor"]})
    assert refused_params(reply) == ["after"]


def test_the_diagnosis_is_the_records(api: Api) -> None:
    diagnosis: Any = {"verdict": "healthy", "confidence": 0.9, "findings": [], "remedies": []}
    job = api.finished(diagnosis=diagnosis)
    assert job["diagnosis"] == diagnosis
    assert api.get(job["links"]["diagnosis"]) == diagnosis
    queued = api.post()["id"]
    problem_of(api.http.get(f"/v1/jobs/{queued}/diagnosis"), 409, "not_ready")


@pytest.mark.parametrize("kind", ["loss", "lr", "path"])
@pytest.mark.parametrize(
    ("format_", "media_type", "magic"),
    [("svg", "image/svg+xml", b"<?xml"), ("png", "image/png", b"\x89PNG")],
)
def test_a_picture_can_be_asked_for(
    api: Api, kind: str, format_: str, media_type: str, magic: bytes
) -> None:
    query = {"kind": kind, "format": format_}
    reply = api.http.get(f"/v1/jobs/{with_rows(api)}/plot", params=query)
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == media_type
    assert reply.content.startswith(magic)


MEASURED: Json = {
    "step": 20,
    "rounding": 1e-9,
    "spectrum": {"values": [-0.5, 0.0, 0.1, 30.0], "weights": [0.1, 0.6, 0.2, 0.1]},
    "slice": {"offsets": [-1.0, 0.0, 1.0], "loss": [[3.0, 1.0, None], [1.0, 0.0, 1.0], [2, 1, 2]]},
}


@pytest.mark.parametrize("kind", ["spectrum", "landscape"])
@pytest.mark.parametrize("format_", ["svg", "png"])
def test_what_a_full_diagnosis_measured_can_be_seen(api: Api, kind: str, format_: str) -> None:
    found = {"verdict": "converged", "confidence": 1, "findings": [], "remedies": []}
    job_id = api.finished(diagnosis={**found, "measured": MEASURED})["id"]
    query = {"kind": kind, "format": format_}
    reply = api.http.get(f"/v1/jobs/{job_id}/plot", params=query)
    assert reply.status_code == 200, reply.text
    assert reply.content.startswith(b"<?xml" if format_ == "svg" else b"\x89PNG")
    again = api.http.get(f"/v1/jobs/{job_id}/plot", params=query)
    assert again.content == reply.content
    for diagnosis in (found, {**found, "measured": None}, {**found, "measured": {"step": 1}}):
        other = api.finished(diagnosis=diagnosis)["id"]
        reply = api.http.get(f"/v1/jobs/{other}/plot", params=query)
        problem_of(reply, 409, "not_ready")


def test_the_picture_of_the_loss_shows_the_diagnosis(api: Api) -> None:
    spikes = {"rule": "gradient_spikes", "status": "triggered", "evidence": {}}
    pictures = []
    for findings, verdict in (([], "healthy"), ([], "plateau"), ([spikes], "healthy")):
        found = {"verdict": verdict, "confidence": 0.9, "findings": findings, "remedies": []}
        job_id = with_rows(api, diagnosis=found)
        reply = api.http.get(f"/v1/jobs/{job_id}/plot?format=png")
        assert reply.status_code == 200, reply.text
        pictures.append(reply.content)
    assert len(set(pictures)) == 3


def test_a_picture_without_rows_is_a_409(api: Api) -> None:
    problem_of(api.http.get(f"/v1/jobs/{api.post()['id']}/plot"), 409, "not_ready")


@pytest.mark.parametrize(
    "spec",
    [
        digits(),
        rosenbrock(
            problem={"kind": "function", "function": {"kind": "rosenbrock", "dim": 3}},
        ),
    ],
)
def test_a_path_is_drawn_in_two_dimensions_only(api: Api, spec: Json) -> None:
    job_id = api.post(spec)["id"]
    assert refused_params(api.http.get(f"/v1/jobs/{job_id}/plot?kind=path")) == ["kind"]


@pytest.mark.parametrize("query", ["kind=hessian", "format=gif", "x=1"])
def test_a_picture_that_is_not_built_is_refused(api: Api, query: str) -> None:
    reply = api.http.get(f"/v1/jobs/{with_rows(api)}/plot?{query}")
    assert refused_params(reply) == [query.split("=", maxsplit=1)[0]]


def test_a_running_job_is_asked_for_a_checkpoint(api: Api) -> None:
    job_id = api.post()["id"]
    path = f"/v1/jobs/{job_id}/checkpoints"
    body = problem_of(api.http.post(path), 409, "not_running")
    assert "queued" in body["detail"]
    claim = api.worker.claim()
    reply = api.http.post(path)
    assert (reply.status_code, reply.headers["location"]) == (202, path)
    assert reply.json()["timeline"][-1]["event"] == "checkpoint_requested"
    assert api.worker.store.renew(claim, 60) == 1
    assert refused_params(api.http.post(path, json={"step": 5})) == [""]
    api.worker.close(claim)
    problem_of(api.http.post(path), 409, "not_running")


def test_a_step_names_the_weights_that_are_kept_of_it(api: Api) -> None:
    job_id = saved_job(api, "initial", "best", "kept", "final", closed=False)
    for step, name in enumerate(("initial", "best", "kept", "final")):
        reply = api.http.get(f"/v1/jobs/{job_id}/model", params={"checkpoint": step})
        assert reply.content == WEIGHTS + name.encode()
        assert reply.headers["etag"]
    for wrong, code in ((7, "no_checkpoint"), (10**14, "no_checkpoint")):
        reply = api.http.get(f"/v1/jobs/{job_id}/model", params={"checkpoint": wrong})
        assert "0, 1, 2, 3" in problem_of(reply, 409, code)["detail"]
    for word in ("-1", "1.5", "kept", "resume", "", "9" * 16):
        reply = api.http.get(f"/v1/jobs/{job_id}/model", params={"checkpoint": word})
        assert refused_params(reply) == ["checkpoint"]
    listed = [each["name"] for each in api.get(f"/v1/jobs/{job_id}/checkpoints")["data"]]
    assert listed == ["final", "kept", "best", "initial"]
