"""One trace from a caller's request to the worker that did its job, and ids in the log."""

import json
from pathlib import Path
from typing import Any

from tests.thalweg_service.running import Service, starting, until
from tests.trace_receiver import receiver

Json = dict[str, Any]

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"
ROSENBROCK: Json = {
    "problem": {"kind": "function", "function": {"kind": "rosenbrock", "dim": 2}},
    "optimizer": {"kind": "sgd", "lr": 0.001},
    "budget": {"max_steps": 50},
}
STUDY: Json = {"base": ROSENBROCK, "sweep": {"optimizer.lr": {"values": [0.001, 0.002]}}}


def test_a_trace_leads_from_the_caller_to_the_worker(tmp_path: Path) -> None:
    with receiver() as found, starting() as start:
        service = Service(start(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=found.address))
        until(service.workers)
        headers = {"traceparent": f"00-{TRACE}-{CALLER}-01", "X-Request-Id": "order-66"}
        job = service.client.post("/v1/jobs", json=ROSENBROCK, headers=headers).json()
        service.end(job["id"])
        study = service.client.post("/v1/studies", json=STUDY, headers=headers).json()
        service.client.get(f"/v1/studies/{study['id']}", params={"wait": 60})
        service.stop()
        spans = found.wait_for("POST /v1/jobs", "job", "POST /v1/studies", "study task")
    posted, done = spans["POST /v1/jobs"], spans["job"]
    assert {span.trace_id for span in (posted, done, spans["study task"])} == {TRACE}
    assert posted.parent_id == CALLER
    assert posted.service == "thalweg-api"
    assert posted.attributes["http.response.status_code"] == 202
    assert posted.attributes["thalweg.request_id"] == "order-66"
    assert done.parent_id == posted.span_id
    assert done.service == "thalweg-worker"
    assert done.attributes["thalweg.job_id"] == job["id"]
    assert done.attributes["thalweg.request_id"] == "order-66"
    assert done.attributes["thalweg.what"] == "ended"
    assert not done.failed
    tasks = [span for span in found.spans if span.name == "study task"]
    assert {span.parent_id for span in tasks} == {spans["POST /v1/studies"].span_id}
    assert {span.attributes["thalweg.study_id"] for span in tasks} == {study["id"]}

    log = (tmp_path / "logs" / "worker-1.log").read_text("utf-8")
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    of_job = [line["what"] for line in lines if line.get("job_id") == job["id"]]
    assert of_job == ["claimed", "ended"]
    assert {line["request_id"] for line in lines if line.get("job_id")} == {"order-66"}
    of_study = {line["task"] for line in lines if line.get("study_id") == study["id"]}
    assert "0.0" in of_study
    assert len(of_study) == len(tasks)
