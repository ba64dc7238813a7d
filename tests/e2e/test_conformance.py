"""A small case of the trial: replies fit the OpenAPI document, and what does not fit is found."""

import copy
from pathlib import Path

import pytest

from tests.e2e.client import Json, Service
from tests.e2e.conformance import counts_of, fuzz, not_done, read_all
from tests.e2e.records import Ids
from tests.e2e.specs import digits, expression
from tests.e2e.studies import Studies

OPERATIONS = ("get_job", "change_job", "cancel_job", "delete_job", "list_jobs", "get_run")
MODEL = digits(steps=5)
SPEC = expression("x1**2", {"x1": 1.0}, {"kind": "sgd", "lr": 0.1}, 5)


@pytest.fixture(scope="module")
def document(service: Service) -> Json:
    found: Json = service.http.get("/openapi.json").json()
    return found


@pytest.fixture(scope="module")
def ids(service: Service) -> Ids:
    kept, model, spare = (service.post(spec)["id"] for spec in (SPEC, MODEL, SPEC))
    sweep = {"optimizer.lr": {"values": [0.1, 0.2]}}
    study = Studies(service).run({"base": SPEC, "sweep": sweep})
    for each in (kept, model, spare):
        service.wait(each)
    return Ids([kept, model], [study["id"]], spare={"job": [spare]})


def test_calls_at_random_and_at_the_bounds_get_what_the_document_says(
    service: Service, document: Json, ids: Ids, tmp_path: Path
) -> None:
    status, words = fuzz(service, document, ids, tmp_path, examples=2, operations=OPERATIONS)
    assert status == 0, words
    assert "6 passed" in words
    chosen: Json = {"paths": {}}
    for path, methods in document["paths"].items():
        chosen["paths"][path] = {
            method: each for method, each in methods.items() if each["operationId"] in OPERATIONS
        }
    assert not_done(chosen, counts_of(service)) == []


def test_every_reply_to_a_call_that_reads_fits_the_document(
    service: Service, document: Json, ids: Ids
) -> None:
    assert read_all(service, document, ids) == []


def test_a_reply_that_does_not_fit_is_found(service: Service, document: Json, ids: Ids) -> None:
    other = copy.deepcopy(document)
    of_job, of_version = (
        {"get": other["paths"][path]["get"]} for path in ("/v1/jobs/{job_id}", "/version")
    )
    other["paths"] = {"/v1/jobs/{job_id}": of_job, "/version": of_version}
    assert read_all(service, other, ids) == []
    other["components"]["schemas"]["Job"]["properties"]["status"] = {"type": "integer"}
    del of_version["get"]["responses"]["200"]
    found = read_all(service, other, ids)
    assert len(found) == len(ids.job) + 1, found
    assert "is not of type" in found[0]
    assert "Undocumented" in found[-1] or "undocumented" in found[-1]
