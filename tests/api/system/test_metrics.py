"""What `GET /metrics` says, read by Prometheus's own parser."""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from api.http.log import BUCKETS_S, RequestCounts
from core.ids import made_at
from core.jobs import STATUSES
from core.settings import Settings
from core.store.protocols.types import WorkerInfo
from core.store.redis.webhooks import RedisSecrets
from tests.api.actors import Api, make_app, problem_of, rosenbrock
from tests.api.study_actors import post as post_study

Json = dict[str, Any]
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def families(text: str) -> Iterator[Metric]:
    yield from text_string_to_metric_families(text)


def samples(api: Api) -> Samples:
    reply = api.http.get("/metrics")
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    found: Samples = {}
    for family in families(reply.text):
        assert family.documentation
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, f"{key} is given twice"
            found[key] = sample.value
    return found


def value(found: Samples, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


def worker(name: str, *devices: str, job: str | None = None) -> WorkerInfo:
    now = "2026-11-22T10:00:00.000000Z"
    return WorkerInfo(name, devices, ("cpu",), job, now, now, 7)


def test_jobs_and_studies_are_counted_from_their_creation_to_their_end(api: Api) -> None:
    api.post()
    claim = api.worker.claim()
    api.worker.close(claim, outcome="converged")
    api.post(rosenbrock(device="cpu", priority=0))
    api.post(rosenbrock(device="cuda"))
    api.post(rosenbrock(device="cuda:3"))
    post_study(api)
    cancelled = api.post(rosenbrock(device="cpu"))["id"]
    api.http.post(f"/v1/jobs/{cancelled}/cancel")

    found = samples(api)

    created = {"auto": 1.0, "cpu": 2.0, "gpu": 2.0}
    for device, number in created.items():
        assert value(found, "thalweg_created_total", kind="job", device=device) == number
    assert value(found, "thalweg_created_total", kind="study", device="auto") == 1
    ended = {("succeeded", "converged"): 1.0, ("cancelled", "none"): 1.0}
    for (status, outcome), number in ended.items():
        labels = {"kind": "job", "status": status, "outcome": outcome}
        assert value(found, "thalweg_ended_total", **labels) == number
    assert value(found, "thalweg_attempts_ended_total", end="finished", device="auto") == 1
    jobs = dict.fromkeys(STATUSES, 0) | {"succeeded": 1, "cancelled": 1, "queued": 3}
    for status, number in jobs.items():
        assert value(found, "thalweg_records", kind="job", status=status) == number
    assert value(found, "thalweg_records", kind="study", status="queued") == 1
    for device, number in {"auto": 1, "cpu": 1, "gpu": 2}.items():
        assert value(found, "thalweg_queued", device=device) == number
        assert 0 < value(found, "thalweg_queued_oldest_seconds", device=device) < 60


def test_a_count_is_there_before_the_first_of_what_it_counts(api: Api) -> None:
    """`increase` and `rate` do not see what begins at 1: the first worker that is lost."""
    before = samples(api)
    lost = {"end": "lost", "device": "cpu"}
    assert value(before, "thalweg_attempts_ended_total", **lost) == 0

    api.post()
    api.worker.close(api.worker.claim(), outcome="diverged")
    for how in (api.worker.store.lose, api.worker.store.hand_over):
        api.post(rosenbrock(device="cpu", priority=9))
        claim = api.worker.claim()
        api.worker.store.update(claim, {"device": "cpu"})
        how(claim)
        api.http.post(f"/v1/jobs/{claim.job.id}/cancel")
    study = post_study(api)["id"]
    api.http.post(f"/v1/studies/{study}/cancel")

    after = samples(api)
    counted = {(name, labels) for name, labels in after if not name.startswith("thalweg_http_")}
    assert counted == {(name, labels) for name, labels in before if "_http_" not in name}
    assert value(after, "thalweg_attempts_ended_total", **lost) == 1


def test_the_oldest_is_looked_for_in_every_priority(api: Api) -> None:
    urgent = api.post(rosenbrock(priority=9))["id"]
    assert samples(api)
    old = api.post(rosenbrock(priority=0))["id"]
    assert is_oldest(api, urgent)
    api.http.post(f"/v1/jobs/{urgent}/cancel")
    assert is_oldest(api, old)
    api.http.post(f"/v1/jobs/{old}/cancel")
    assert value(samples(api), "thalweg_queued_oldest_seconds", device="auto") == 0


def is_oldest(api: Api, job_id: str) -> bool:
    """Tell whether the age of what waits longest is that of this job, whose id has milliseconds."""
    began = time.time()
    age = value(samples(api), "thalweg_queued_oldest_seconds", device="auto")
    made = made_at(job_id.removeprefix("job_"))
    return began - made - 0.001 <= age <= time.time() - made + 0.001


def test_what_runs_is_counted_by_the_device_of_its_attempt(api: Api) -> None:
    api.post()
    claim = api.worker.claim()
    assert value(samples(api), "thalweg_running", device="auto") == 1
    rate = {"step": 10, "max_steps": 100, "steps_per_s": 812.5}
    api.worker.store.update(claim, {"device": "cuda:1", "progress": rate})
    found = samples(api)
    assert value(found, "thalweg_running", device="auto") == 0
    assert value(found, "thalweg_running", device="gpu") == 1
    assert value(found, "thalweg_steps_per_second", device="gpu") == 812.5
    api.worker.store.hand_over(claim)
    found = samples(api)
    assert value(found, "thalweg_attempts_ended_total", end="handed_over", device="gpu") == 1
    assert value(found, "thalweg_steps_per_second", device="gpu") == 0
    api.worker.store.lose(api.worker.claim())
    lost = {"end": "lost", "device": "auto"}
    assert value(samples(api), "thalweg_attempts_ended_total", **lost) == 1


def test_the_use_of_a_gpu_is_that_of_the_latest_sample(api: Api) -> None:
    api.post()
    claim = api.worker.claim()
    store = api.worker.store
    labels = {"worker": "worker-1", "device": "cuda:0"}
    store.update(claim, {"device": "cuda:0"}, samples=[[0.0, 90.0, 1e9, None, None]])
    assert ("thalweg_gpu_memory_bytes", frozenset(labels.items())) not in samples(api)
    latest = [[5.0, 90.0, 1e9, 10.0, 1e8], [10.0, 90.0, 1e9, 75.0, 2e9]]
    store.update(claim, {}, samples=latest)
    found = samples(api)
    assert value(found, "thalweg_gpu_utilization_ratio", **labels) == 0.75
    assert value(found, "thalweg_gpu_memory_bytes", **labels) == 2e9
    store.hand_over(claim)
    assert ("thalweg_gpu_memory_bytes", frozenset(labels.items())) not in samples(api)


@pytest.mark.parametrize("rate", [None, float("nan")])
def test_a_rate_that_is_not_known_counts_nothing(api: Api, rate: float | None) -> None:
    api.post()
    progress = {"step": 0, "max_steps": 100, "steps_per_s": rate}
    api.worker.store.update(api.worker.claim(), {"device": "cpu", "progress": progress})
    assert value(samples(api), "thalweg_steps_per_second", device="cpu") == 0


def test_workers_are_counted_by_device_and_by_what_they_do(api: Api) -> None:
    job = api.post()["id"]
    for info in (worker("a", "cpu"), worker("b", "cpu", job=job), worker("c", "cuda:0", "cpu")):
        api.worker.store.report_worker(info, 60)
    found = samples(api)
    assert value(found, "thalweg_workers", device="cpu") == 2
    assert value(found, "thalweg_workers", device="gpu") == 1
    assert value(found, "thalweg_workers_busy", device="cpu") == 1
    assert value(found, "thalweg_workers_busy", device="gpu") == 0


def test_requests_are_counted_by_their_route(api: Api) -> None:
    job = api.post()["id"]
    for path in (f"/v1/jobs/{job}", f"/v1/jobs/{job}", "/v1/jobs/nobody", "/no/such/path"):
        api.http.get(path)
    api.http.request("BREW", "/v1/jobs")
    api.http.post("/v1/jobs", json={"optimizer": 7})
    found = samples(api)

    def requests(method: str, route: str, status: int) -> float:
        labels = {"method": method, "route": route, "status": str(status)}
        return value(found, "thalweg_http_requests_total", **labels)

    assert requests("POST", "/v1/jobs", 202) == 1
    assert requests("POST", "/v1/jobs", 422) == 1
    assert requests("GET", "/v1/jobs/{job_id}", 200) == 2
    assert requests("GET", "/v1/jobs/{job_id}", 404) == 1
    assert requests("GET", "none", 404) == 1
    assert sum(
        number for (name, labels), number in found.items()
        if name == "thalweg_http_requests_total" and ("method", "other") in labels
    ) == 1  # fmt: skip
    assert value(found, "thalweg_http_problems_total", code="invalid_request") == 1
    assert value(found, "thalweg_http_problems_total", code="not_found") == 2
    assert value(found, "thalweg_http_request_duration_seconds_count", route="/v1/jobs") == 3


def test_durations_fall_into_the_bucket_whose_end_they_do_not_pass() -> None:
    counts = RequestCounts()
    for seconds in (0.0, 0.005, 0.0051, 60.0, 61.0):
        counts.add({"type": "http", "method": "GET"}, 200, seconds)
    expected = [2, 1] + [0] * (len(BUCKETS_S) - 3) + [1, 1]
    assert counts.durations == {"none": expected}
    assert counts.seconds["none"] == pytest.approx(121.0101)


def test_a_stream_has_no_duration() -> None:
    class Stream:
        path_format = "/v1/jobs/{job_id}/events"

    counts = RequestCounts()
    counts.add({"type": "http", "method": "GET", "route": Stream()}, 200, 3600.0)
    assert counts.requests == {("GET", Stream.path_format, 200): 1}
    assert counts.durations == {}


def test_a_caller_that_had_gone_is_counted_so() -> None:
    counts = RequestCounts()
    counts.add({"type": "http", "method": "GET"}, 0, 0.1)
    assert counts.requests == {("GET", "none", 499): 1}


def test_without_the_store_a_process_still_says_what_it_knows(settings: Settings) -> None:
    away = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    with TestClient(make_app(away), "http://localhost") as http:
        problem_of(http.get("/v1/jobs"), 503, "store_unavailable")
        text = http.get("/metrics").text
    found = {sample.name: sample.value for family in families(text) for sample in family.samples}
    assert found["thalweg_store_up"] == 0
    assert found["thalweg_store_errors_total"] == 1
    assert "thalweg_records" not in found
    assert "thalweg_build_info" in found


def test_the_memory_of_the_store_is_told(api: Api) -> None:
    found = samples(api)
    assert value(found, "thalweg_store_up") == 1
    assert value(found, "thalweg_store_memory_bytes") > 100_000
    assert value(found, "thalweg_store_memory_limit_bytes") >= 0


def test_problems_carry_the_id_of_their_request(api: Api) -> None:
    for path, given in (("/v1/jobs/nobody", "a-b.7"), ("/nowhere", ""), ("/v1/jobs?x=1", "q")):
        reply = api.http.get(path, headers={"X-Request-Id": given} if given else {})
        assert reply.json()["request_id"] == reply.headers["x-request-id"]
        assert not given or reply.json()["request_id"] == given
    foreign = api.http.get("/v1/jobs", headers={"Host": "evil.example"})
    assert foreign.status_code == 403
    assert foreign.json()["request_id"] == foreign.headers["x-request-id"]


ROOT = Path(__file__).resolve().parents[3]
_NAME = re.compile(r"\bthalweg_[a-z_]+\b")


def everything(api: Api) -> str:
    """The text once each family has a sample."""
    api.finished()
    api.post()
    use = [[5.0, 90.0, 1e9, 10.0, 1e8]]
    api.worker.store.update(api.worker.claim(), {"device": "cuda:0"}, samples=use)
    api.http.get("/nowhere")
    trial = api.worker.store.webhooks
    secrets = RedisSecrets(api.settings.redis_url, api.settings.namespace)
    secrets.add()
    secrets.disconnect()
    api.http.post("/v1/webhooks/test", json={"url": "https://example.org/x"})
    for each in trial.claim(1, 60.0, 60.0)[1]:
        trial.settle(each, replace(each.delivery, status="failed"), None)
    return api.http.get("/metrics").text


def names_in(text: str) -> set[str]:
    return {sample.name for family in families(text) for sample in family.samples}


def test_the_dashboard_names_only_metrics_that_exist(api: Api) -> None:
    dashboard = json.loads((ROOT / "deploy" / "grafana" / "thalweg.json").read_text("utf-8"))
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked = {name for query in queries for name in _NAME.findall(query)}
    assert len(asked) > 10
    assert asked <= names_in(everything(api))


def test_what_scales_a_fleet_finds_one_value_for_each_of_its_triggers(api: Api) -> None:
    """`valueLocation` is a selector as Prometheus writes it; it must choose one sample, also of a
    service that has nothing to do."""
    texts = [path.read_text() for path in (ROOT / "deploy" / "kubernetes").rglob("*.yaml")]
    places = {place for text in texts for place in re.findall("valueLocation: '(.*)'", text)}
    assert len(places) == 8
    for text in (api.http.get("/metrics").text, everything(api)):
        lines = text.splitlines()
        for place in places:
            assert len([line for line in lines if line.startswith(f"{place} ")]) == 1, place


def test_the_operators_page_lists_every_metric(api: Api) -> None:
    page = (ROOT / "docs" / "operators.md").read_text("utf-8")
    rows = re.findall(r"^\| (`thalweg_[^|]+)\|", page, re.MULTILINE)
    told = {name for row in rows for name in _NAME.findall(row)}
    given = {
        re.sub("_(bucket|sum|count|created)$", "", sample.name)
        for family in families(everything(api))
        for sample in family.samples
    }
    assert told == given


def test_the_dashboard_can_be_imported() -> None:
    """What Grafana's import asks of a file: ids that differ, panels that do not overlap, and a data
    source that is chosen."""
    dashboard = json.loads((ROOT / "deploy" / "grafana" / "thalweg.json").read_text("utf-8"))
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken
        taken |= cells
        assert panel["datasource"]["uid"] == "${datasource}"
    assert [variable["name"] for variable in dashboard["templating"]["list"]] == ["datasource"]


def test_a_job_that_was_resumed_keeps_a_readable_place(api: Api) -> None:
    first, other = api.post()["id"], api.post()["id"]
    for _ in range(2):
        assert api.http.post(f"/v1/jobs/{first}/pause").status_code == 200
        assert api.http.post(f"/v1/jobs/{first}/resume").status_code in {200, 202}
        assert api.http.post(f"/v1/jobs/{other}/pause").status_code == 200
        assert api.http.post(f"/v1/jobs/{other}/resume").status_code in {200, 202}
    assert value(samples(api), "thalweg_queued", device="auto") == 2
    assert value(samples(api), "thalweg_queued_oldest_seconds", device="auto") < 60
