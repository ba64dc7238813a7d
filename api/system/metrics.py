"""Metrics for Prometheus: every name that `GET /metrics` gives is made here.

What the store knows is the same in every API process; what a process counts itself (`http_…`,
`store_errors`) is its own, and Prometheus tells processes apart by their address.
"""

from collections.abc import Iterator, Sequence
from importlib.metadata import version
from itertools import accumulate, product
from typing import Final, get_args

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from api.http.log import BUCKETS_S, RequestCounts
from core.jobs import AttemptEnd, Outcome
from core.store.protocols.types import ServiceState, Totals, WorkerInfo

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_DEVICES: Final = ("auto", "cpu", "gpu")
_COUNTED: Final = tuple(
    " ".join(words)
    for words in (
        *product(("created",), ("job", "study"), _DEVICES),
        *product(("ended",), ("job", "study"), ("cancelled", "failed"), ("none",)),
        *product(("ended",), ("job",), ("succeeded",), get_args(Outcome)),
        ("ended", "study", "succeeded", "none"),
        *product(("attempt",), get_args(AttemptEnd), _DEVICES),
        *product(("webhook",), ("delivered", "failed", "gone")),
        *product(("webhook_try",), ("delivered", "failed")),
    )
)
"""Counts of the store (`Totals.counts`) that are given from the start: `increase` and `rate` do not
see the first of what begins at 1."""
STORE_PROBLEMS: Final = ("store_unavailable", "storage_full", "queue_full")


def exposition(counts: RequestCounts, store: ServiceState | None) -> bytes:
    """Return the text for Prometheus; `store` None: it does not answer."""
    registry = CollectorRegistry()
    registry.register(_Families(counts, store))
    return generate_latest(registry)


class _Families(Collector):
    def __init__(self, counts: RequestCounts, store: ServiceState | None) -> None:
        self._counts = counts
        self._store = store

    def collect(self) -> Iterator[Metric]:
        build = GaugeMetricFamily("thalweg_build_info", "Its version.", labels=["version"])
        build.add_metric([version("thalweg-service")], 1)
        yield build
        yield from _of_requests(self._counts)
        yield GaugeMetricFamily(
            "thalweg_store_up", "Whether the store answers.", float(self._store is not None)
        )
        if self._store is not None:
            yield from _of_counts(self._store.totals)
            yield from _of_devices(self._store.totals)
            yield from _of_workers(self._store.workers)
            if (memory := self._store.memory) is not None:
                yield GaugeMetricFamily(
                    "thalweg_store_memory_bytes", "Memory that its server uses.", memory.used_bytes
                )
                yield GaugeMetricFamily(
                    "thalweg_store_memory_limit_bytes",
                    "Memory that its server may use; 0: no limit.",
                    memory.limit_bytes,
                )


def _of_requests(counts: RequestCounts) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "thalweg_http_requests",
        "Requests answered by this process; 499: the caller had gone.",
        labels=["method", "route", "status"],
    )
    for (method, route, status), number in sorted(counts.requests.items()):
        requests.add_metric([method, route, str(status)], number)
    yield requests
    durations = HistogramMetricFamily(
        "thalweg_http_request_duration_seconds",
        "From a request's head to the end of its reply; waits that the caller asked for included.",
        labels=["route"],
    )
    for route, buckets in sorted(counts.durations.items()):
        ends = [*map(str, BUCKETS_S), "+Inf"]
        durations.add_metric(
            [route],
            list(zip(ends, map(float, accumulate(buckets)), strict=True)),
            counts.seconds[route],
        )
    yield durations
    problems = CounterMetricFamily(
        "thalweg_http_problems", "Problems that this process replied, by code.", labels=["code"]
    )
    for code, number in sorted(counts.problems.items()):
        problems.add_metric([code], number)
    yield problems
    yield CounterMetricFamily(
        "thalweg_store_errors",
        "Requests that failed because the store was away or full.",
        value=sum(counts.problems[code] for code in STORE_PROBLEMS),
    )


def _of_counts(totals: Totals) -> Iterator[Metric]:
    """Make the metrics of what has happened since the store was made, and of its records."""
    families = {
        "created": CounterMetricFamily(
            "thalweg_created", "Jobs and studies created.", labels=["kind", "device"]
        ),
        "ended": CounterMetricFamily(
            "thalweg_ended", "Jobs and studies that ended.", labels=["kind", "status", "outcome"]
        ),
        "attempt": CounterMetricFamily(
            "thalweg_attempts_ended",
            "Attempts at jobs and tasks that ended: lost with their worker, handed over, ...",
            labels=["end", "device"],
        ),
    }
    families |= {
        "webhook": CounterMetricFamily(
            "thalweg_webhook_deliveries",
            "Messages to webhooks that nobody tries any more, by what became of them.",
            labels=["result"],
        ),
        "webhook_try": CounterMetricFamily(
            "thalweg_webhook_attempts", "Attempts to deliver such a message.", labels=["result"]
        ),
    }
    counts = {**dict.fromkeys(_COUNTED, 0), **totals.counts}
    for words, number in sorted(counts.items()):
        what, *labels = words.split(" ")
        if what in families:
            families[what].add_metric(labels, number)
    yield from families.values()
    records = GaugeMetricFamily(
        "thalweg_records", "Jobs and studies that there are.", labels=["kind", "status"]
    )
    for (kind, status), number in totals.records.items():
        records.add_metric([kind, status], number)
    yield records
    yield GaugeMetricFamily(
        "thalweg_diagnoses_queued",
        "Diagnoses asked for after the end that no worker has begun.",
        totals.queued_diagnoses,
    )
    yield GaugeMetricFamily(
        "thalweg_webhook_waiting", "Messages to webhooks that wait.", totals.waiting_messages
    )
    yield GaugeMetricFamily(
        "thalweg_webhook_oldest_waiting_seconds",
        "Time for which the oldest of them has been tried.",
        totals.oldest_message_s,
    )


def _of_devices(totals: Totals) -> Iterator[Metric]:
    gauges = (
        ("queued", "Jobs and tasks of studies that wait for a device."),
        ("queued_limited", "Those that wait for a limit of their key instead."),
        ("queued_oldest_seconds", "Age of the oldest that waits for a device."),
        ("running", "Jobs and tasks of studies at work."),
        ("steps_per_second", "Updates a second, of all that runs."),
    )
    families = [
        GaugeMetricFamily(f"thalweg_{name}", words, labels=["device"]) for name, words in gauges
    ]
    for of, load in totals.devices.items():
        values = (load.queued, load.limited, load.oldest_s, load.running, load.steps_per_s)
        for family, value in zip(families, values, strict=True):
            family.add_metric([of], value)
    yield from families
    memory = GaugeMetricFamily(
        "thalweg_gpu_memory_bytes",
        "Memory of a GPU that the job on it holds.",
        labels=["worker", "device"],
    )
    busy = GaugeMetricFamily(
        "thalweg_gpu_utilization_ratio",
        "Share of the time in which a GPU was at work, 0 to 1.",
        labels=["worker", "device"],
    )
    for use in totals.uses:
        if use.memory_bytes is not None:
            memory.add_metric([use.worker, use.device], use.memory_bytes)
        if use.percent is not None:
            busy.add_metric([use.worker, use.device], use.percent / 100)
    yield from (memory, busy)


def _of_workers(workers: Sequence[WorkerInfo]) -> Iterator[Metric]:
    alive = GaugeMetricFamily(
        "thalweg_workers", "Workers that are alive, by what they train on.", labels=["device"]
    )
    busy = GaugeMetricFamily("thalweg_workers_busy", "Workers that are at work.", labels=["device"])
    for of in ("cpu", "gpu"):
        own = [w for w in workers if _trains_on(w) == of]
        alive.add_metric([of], len(own))
        busy.add_metric([of], sum(worker.current_job is not None for worker in own))
    yield from (alive, busy)


def _trains_on(worker: WorkerInfo) -> str:
    return "gpu" if any(device.startswith("cuda") for device in worker.devices) else "cpu"
