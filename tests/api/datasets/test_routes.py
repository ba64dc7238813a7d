"""Data sets over HTTP: what an upload becomes, and what is refused."""

import base64
import hashlib
from collections.abc import Iterator
from typing import Any

import pytest

from core.settings import Settings
from core.uploads.contents import MEDIA_TYPES, Column, Contents
from tests.api.actors import Json, problem_of, refused_params
from tests.api.datasets.actors import CSV, REFUSAL, TABLE, DataApi, on, running

FIELDS = [
    *("id", "name", "kind", "status", "num_rows", "columns", "sha256", "size_bytes", "labels"),
    *("created_at", "expires_at", "keep_until", "error", "links"),
]
NOTHING: list[str] = []


def test_an_upload_is_a_data_set(data: DataApi) -> None:
    reply = data.http.post(
        "/v1/datasets?name=houses&label=team:vision&label=a:b:c", content=CSV, headers=TABLE
    )
    assert reply.status_code == 201
    made = reply.json()
    assert list(made) == FIELDS
    assert reply.headers["location"] == made["links"]["self"] == f"/v1/datasets/{made['id']}"
    assert (made["name"], made["kind"], made["status"]) == ("houses", "table", "ready")
    assert made["labels"] == {"team": "vision", "a": "b:c"}
    assert made["sha256"] == hashlib.sha256(CSV).hexdigest()
    assert (made["size_bytes"], made["num_rows"], made["error"]) == (len(CSV), 4, None)
    assert made["columns"][0] == {
        "name": "size", "dtype": "number", "shape": [], "num_missing": 0, "categories": None,
    }  # fmt: skip
    assert data.get(f"/v1/datasets/{made['id']}") == made
    assert data.get("/v1/datasets")["data"] == [made]
    assert data.left_in_the_folder == NOTHING
    assert len(data.stored) == 1


DOUBTFUL = Contents(
    "table", 4, (Column("size", "category", categories=("$1", "$2")), Column("price", "number")), 64
)


def test_doubtful_columns_are_warned_of_wherever_they_are_shown(data: DataApi) -> None:
    assert "warnings" not in data.upload()
    data.checks.contents = DOUBTFUL
    made = data.upload(b"size,price\n$1,2\n$2,3\n$1,5\n$2,7\n")
    (warned,) = made["warnings"]
    assert (warned["param"], warned["code"]) == ("size", "looks_like_numbers")
    assert 'Column "size" has "$1"' in warned["message"]
    path = f"/v1/datasets/{made['id']}"
    assert data.get(path)["warnings"] == data.get("/v1/datasets")["data"][0]["warnings"] == [warned]
    validated = data.http.post("/v1/jobs/validate", json=on(made)).json()
    (of_job,) = validated["warnings"]
    assert of_job["param"] == "problem.data.features"
    job = data.post(on(made))
    assert job["warnings"] == data.get(f"/v1/jobs/{job['id']}")["warnings"] == [of_job]
    study = {"base": on(made), "sweep": {"optimizer.lr": {"values": [0.1, 0.2]}}}
    found = data.http.post("/v1/studies", json=study).json()["warnings"]
    assert [each["code"] for each in found] == ["looks_like_numbers"]
    clone = data.post({"from": job["id"], "patch": {"seed": 1}})
    assert clone["warnings"] == [of_job]


def test_jobs_that_follow_from_another_are_warned_of_its_data(data: DataApi) -> None:
    data.checks.contents = DOUBTFUL
    job = data.post(on(data.upload(), budget={"max_steps": 100}))
    claim = data.worker.claim()
    data.worker.save(claim, b"state", name="resume", step=100)
    remedy = {"index": 0, "patch": {"optimizer": {"lr": 0.5}}, "reason": "", "expected": {}}
    found = {"verdict": "converged", "confidence": 1.0, "findings": [], "remedies": [remedy]}
    data.worker.close(claim, diagnosis=found)
    path = f"/v1/jobs/{job['id']}"
    continued = data.http.post(f"{path}/continue", json={"budget": {"max_steps": 200}}).json()
    remedied = data.http.post(f"{path}/remedies/0/apply").json()
    cloned = data.post({"from": job["id"], "patch": {"seed": 1}})
    (warned,) = job["warnings"]
    assert warned["code"] == "looks_like_numbers"
    for child in (continued, remedied, cloned):
        assert child["parent_id"] == job["id"]
        assert child["warnings"] == [warned]


def test_a_column_that_the_schema_declares_is_what_it_says(data: DataApi) -> None:
    data.checks.contents = DOUBTFUL
    for schema in ('{"size": "category"}', '[{"name": "size", "dtype": "category"}]'):
        made = data.upload(schema.encode(), schema=schema)
        assert "warnings" not in made
        assert "warnings" not in data.post(on(made))


def test_a_data_set_unchanged_is_a_304(data: DataApi) -> None:
    made = data.upload()
    tag = data.http.get(f"/v1/datasets/{made['id']}").headers["etag"]
    headers = {"If-None-Match": tag}
    assert data.http.get(f"/v1/datasets/{made['id']}", headers=headers).status_code == 304
    data.http.patch(f"/v1/datasets/{made['id']}", json={"name": "x"})
    assert data.http.get(f"/v1/datasets/{made['id']}", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/json"},
        {"Content-Type": ""},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "text/csv; charset=latin-1"},
        {"Content-Type": "text/csv; header=absent"},
        {"Content-Type": "text/csv", "Content-Encoding": "gzip"},
    ],
)
def test_other_media_types_are_refused_with_those_that_there_are(
    data: DataApi, headers: dict[str, str]
) -> None:
    reply = data.http.post("/v1/datasets", content=CSV, headers=headers)
    body = problem_of(reply, 415, "unsupported_media_type")
    if headers["Content-Type"].partition(";")[0] != "text/csv":
        assert all(name in body["detail"] for name in MEDIA_TYPES)
    assert data.checks.started == 0


@pytest.mark.parametrize("media_type", sorted(MEDIA_TYPES))
def test_each_media_type_is_taken(data: DataApi, media_type: str) -> None:
    headers = {"Content-Type": media_type.upper()}
    assert data.http.post("/v1/datasets", content=b"x", headers=headers).status_code == 201


def pieces(count: int) -> Iterator[bytes]:
    for _ in range(count):
        yield b"x" * 1_000


@pytest.mark.parametrize("chunked", [False, True])
def test_a_file_beyond_the_limit_is_a_413_and_leaves_nothing(
    settings: Settings, chunked: bool
) -> None:
    small = settings.model_copy(update={"max_upload_bytes": 20_000, "max_body_bytes": 1_000})
    with running(small) as data:
        content: Any = pieces(30) if chunked else b"x" * 30_000
        reply = data.http.post("/v1/datasets", content=content, headers=TABLE)
        problem_of(reply, 413, "body_too_large")
        assert "20000" in reply.json()["detail"]
        assert (data.left_in_the_folder, data.stored) == (NOTHING, NOTHING)
        data.upload(b"x" * 19_000)  # beyond the limit of other bodies
        data.upload(pieces(19))


def test_a_file_that_does_not_fit_on_the_disk_is_a_503(settings: Settings) -> None:
    with running(settings.model_copy(update={"reserve_bytes": 2**60})) as data:
        reply = data.http.post("/v1/datasets", content=CSV, headers=TABLE)
        problem_of(reply, 503, "storage_full")
        assert data.left_in_the_folder == NOTHING


def test_a_refused_file_is_a_422_with_its_place_and_leaves_nothing(data: DataApi) -> None:
    data.checks.refusal = REFUSAL
    reply = data.http.post("/v1/datasets", content=CSV, headers=TABLE)
    assert refused_params(reply) == ["price"]
    assert reply.json()["errors"][0] == {
        "param": "price", "code": "unequal_rows", "message": REFUSAL.message,
    }  # fmt: skip
    assert reply.json()["refusal"] == {
        "code": "unequal_rows", "message": REFUSAL.message,
        "row": 3, "column": "price", "entry": None,
    }  # fmt: skip
    assert data.get("/v1/datasets")["data"] == []
    assert (data.left_in_the_folder, data.stored) == (NOTHING, NOTHING)


def digests(content: bytes) -> list[tuple[str, str]]:
    sha256, sha512 = (
        base64.b64encode(hashlib.new(name, content).digest()).decode()
        for name in ("sha256", "sha512")
    )
    return [
        ("Content-Digest", f"sha-256=:{sha256}:"),
        ("Content-Digest", f"sha-512=:{sha512}:"),
        ("Content-Digest", f"sha-512=:{sha512}:, sha-256=:{sha256}:"),
        ("Digest", f"SHA-256={sha256}"),
    ]


@pytest.mark.parametrize("number", range(4))
def test_a_checksum_that_differs_is_refused(data: DataApi, number: int) -> None:
    name, right = digests(CSV)[number]
    _, wrong = digests(CSV + b" ")[number]
    reply = data.http.post("/v1/datasets", content=CSV, headers={**TABLE, name: wrong})
    assert refused_params(reply) == ["Content-Digest"]
    assert reply.json()["errors"][0]["code"] == "checksum_differs"
    assert (data.left_in_the_folder, data.stored) == (NOTHING, NOTHING)
    reply = data.http.post("/v1/datasets", content=CSV, headers={**TABLE, name: right})
    assert reply.status_code == 201


@pytest.mark.parametrize(
    ("value", "status"),
    [("sha-256=:abc:", 422), ("sha-256=:!!:", 422), ("nonsense", 422), ("md5=:abcd:", 201)],
)
def test_a_checksum_that_is_none_is_refused_and_an_unknown_one_passed_over(
    data: DataApi, value: str, status: int
) -> None:
    headers = {**TABLE, "Content-Digest": value}
    assert data.http.post("/v1/datasets", content=CSV, headers=headers).status_code == status


def test_a_key_sent_again_makes_nothing_new(data: DataApi) -> None:
    headers = {**TABLE, "Idempotency-Key": "k"}
    first = data.http.post("/v1/datasets?name=a", content=CSV, headers=headers)
    again = data.http.post("/v1/datasets?name=a", content=CSV, headers=headers)
    assert again.status_code == 201
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert len(data.stored) == 1
    for query, content in (("name=b", CSV), ("name=a", CSV + b"9,9\n")):
        other = data.http.post(f"/v1/datasets?{query}", content=content, headers=headers)
        problem_of(other, 409, "idempotency_key_reused")
    assert len(data.stored) == 1
    data.http.delete(first.headers["location"])
    gone = data.http.post("/v1/datasets?name=a", content=CSV, headers=headers)
    problem_of(gone, 409, "idempotent_dataset_deleted")
    assert data.stored == NOTHING


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("nonsense=1", "nonsense"),
        ("name=", "name"),
        ("name=%01", "name"),
        (f"name={'x' * 201}", "name"),
        ("label=x", "label"),
    ],
)
def test_wrong_parameters_are_refused_before_the_body(
    data: DataApi, query: str, param: str
) -> None:
    reply = data.http.post(f"/v1/datasets?{query}", content=CSV, headers=TABLE)
    assert refused_params(reply) == [param]
    assert data.checks.started == 0


def test_lists_come_newest_first_by_pages_and_filters(data: DataApi) -> None:
    made = [data.upload(name=f"n{i}", label=f"odd:{i % 2}") for i in range(5)]
    page = data.get("/v1/datasets", limit=2)
    seen = page["data"]
    while page["next_cursor"]:
        page = data.get("/v1/datasets", limit=2, after=page["next_cursor"])
        seen += page["data"]
    assert seen == made[::-1]
    odd = data.get("/v1/datasets", label="odd:1", limit=2)
    assert ([each["name"] for each in odd["data"]], odd["has_more"]) == (["n3", "n1"], False)
    assert len(data.get("/v1/datasets", status="ready")["data"]) == 5
    assert data.get("/v1/datasets", status="checking")["data"] == []
    after = data.get("/v1/datasets", created_after=made[3]["created_at"])["data"]
    assert [each["name"] for each in after] == ["n4"]
    refused = refused_params(data.http.get("/v1/datasets?status=queued&limit=0"))
    assert set(refused) == {"status", "limit"}


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
@pytest.mark.parametrize("id_", ["data_00000000000000000000000000", "nonsense", "job_1"])
def test_an_id_that_names_nothing_is_a_404(data: DataApi, method: str, id_: str) -> None:
    body: Json = {"json": {"name": "x"}} if method == "PATCH" else {}
    problem_of(data.http.request(method, f"/v1/datasets/{id_}", **body), 404, "not_found")
    problem_of(data.http.get(f"/v1/datasets/{id_}/preview"), 404, "not_found")


def test_a_patch_changes_name_labels_and_the_time_it_is_kept(data: DataApi) -> None:
    made = data.upload(name="a", label="x:1")
    path = f"/v1/datasets/{made['id']}"
    reply = data.http.patch(path, json={"name": "b", "labels": {"y": "2"}})
    assert reply.status_code == 200
    changed = reply.json()
    assert (changed["name"], changed["labels"]) == ("b", {"x": "1", "y": "2"})
    assert reply.headers["etag"] == data.http.get(path).headers["etag"]
    assert [each["id"] for each in data.get("/v1/datasets", label="y:2")["data"]] == [made["id"]]
    changed = data.http.patch(path, json={"labels": {"x": None}, "name": None}).json()
    assert (changed["name"], changed["labels"]) == (None, {"y": "2"})
    assert data.get("/v1/datasets", label="x:1")["data"] == []
    kept = data.http.patch(path, json={"keep_until": "2999-01-01T00:00:00+01:00"}).json()
    assert kept["keep_until"] == "2998-12-31T23:00:00.000000Z" == kept["expires_at"]
    problem_of(data.http.delete(path), 409, "kept")
    assert data.http.patch(path, json={"keep_until": None}).json()["keep_until"] is None
    assert data.http.patch(path, json={"labels": None}).json()["labels"] == {}
    assert data.http.patch(path, json={}).status_code == 200
    assert data.http.delete(path).status_code == 204


@pytest.mark.parametrize(
    ("patch", "param"),
    [
        ({"nonsense": 1}, "nonsense"),
        ({"status": "ready"}, "status"),
        ({"name": 1}, "name"),
        ({"name": " "}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"labels": {"": "x"}}, "labels"),
        ({"labels": {"a": 1}}, "labels.a"),
        ({"keep_until": "tomorrow"}, "keep_until"),
        ({"keep_until": "2026-13-01T00:00:00Z"}, "keep_until"),
        ({"labels": {f"n{i}": "x" for i in range(65)}}, "labels"),
    ],
)
def test_a_wrong_patch_is_refused_and_changes_nothing(
    data: DataApi, patch: Json, param: str
) -> None:
    made = data.upload(name="a")
    reply = data.http.patch(f"/v1/datasets/{made['id']}", json=patch)
    assert refused_params(reply)[0].startswith(param)
    assert data.get(f"/v1/datasets/{made['id']}") == made


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_a_change_heeds_the_etag_that_it_wants(data: DataApi, method: str) -> None:
    made = data.upload()
    path = f"/v1/datasets/{made['id']}"
    body: Json = {"json": {"name": "x"}} if method == "PATCH" else {}
    wrong = data.http.request(method, path, headers={"If-Match": '"99"'}, **body)
    problem_of(wrong, 412, "precondition_failed")
    tag = data.http.get(path).headers["etag"]
    right = data.http.request(method, path, headers={"If-Match": tag}, **body)
    assert right.status_code in {200, 204}
