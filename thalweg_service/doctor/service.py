"""Looks at a service over HTTP, as any caller does, and jobs whose answers are known."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import Any, Final

import httpx2

from thalweg_service.doctor.check import CLOCKS_S, Check, difference

DELIVERIES: Final = "/v1/webhooks/deliveries"
LATE_S: Final = 30.0
"""Seconds after its time from which on a delivery is taken not to be sent by anybody."""
JOB_S: Final = 60.0
"""Seconds after which a job of a few steps is taken not to be done."""


@dataclass(frozen=True)
class KnownJob:
    """A job whose answer is known.

    Attributes:
        answer: its solution, by the arithmetic written out in plain Python.
        verdict: of its diagnosis.
    """

    name: str
    spec: dict[str, Any]
    answer: dict[str, float]
    verdict: str | None = None


def look_at_service(http: httpx2.Client, url: str) -> Check:
    """Ask whether anything answers at the address."""
    try:
        reply = http.get("/livez")
    except httpx2.HTTPError as error:
        words = f"nobody answers at {url} ({type(error).__name__}): start it, or name its --url"
        return Check("service", "failed", words)
    if reply.status_code != 200:
        return Check("service", "failed", f"{url}/livez is answered by {reply.status_code}")
    return Check("service", "ok", f"answers at {url}")


def asked(name: str, look: Callable[[], Check]) -> Check:
    """Return what `look` finds; where the service does not answer it (any more), that."""
    try:
        return look()
    except httpx2.HTTPError as error:
        words = f"the service did not answer ({type(error).__name__}): look whether it still runs"
        return Check(name, "failed", words)


def look_at_version(http: httpx2.Client) -> Check:
    """Compare the service's version with the one installed here."""
    own, found = version("thalweg-service"), _read(http, "/version").get("version")
    if found != own:
        words = f"the service is {found}, this is {own}: install the same version everywhere"
        return Check("version", "warning", words)
    return Check("version", "ok", f"{own} here and there")


def look_at_readiness(http: httpx2.Client) -> Check:
    """Ask whether the service reaches its store and its artifacts."""
    reply = http.get("/readyz")
    checks = _json(reply).get("checks", {})
    said = ", ".join(f"{name} {word}" for name, word in checks.items())
    if reply.status_code != 200:
        return Check("ready", "failed", said or f"/readyz is answered by {reply.status_code}")
    return Check("ready", "ok", said)


def look_at_clock(http: httpx2.Client) -> Check:
    """Compare the service's clock with this machine's, to the second that HTTP tells."""
    reply = http.get("/livez")
    try:
        told = parsedate_to_datetime(reply.headers["date"]).timestamp()
    except (KeyError, ValueError):
        return Check("clock", "skipped", "the reply has no Date")
    return Check("clock", *difference("the service's", told + 0.5 - time.time()))


def look_at_workers(http: httpx2.Client) -> Check:
    """Count the workers, and look at the age of their reports."""
    reply = http.get("/v1/workers", params={"limit": 200})
    if reply.status_code in {401, 403}:
        why = _json(reply).get("detail", "a key is needed")
        words = f"{why} Give doctor one in THALWEG_KEY, or as --key"
        return Check("workers", "failed", words)
    workers = _json(reply).get("data", [])
    if not workers:
        words = (
            "none reports: jobs wait; start `thalweg worker` (a store that is full or read-only"
            " takes no reports either)"
        )
        return Check("workers", "failed", words)
    now = datetime.now(UTC)
    ages = [
        (now - datetime.fromisoformat(each["last_heartbeat"])).total_seconds() for each in workers
    ]
    devices = sorted({device for each in workers for device in each["devices"]})
    words = f"{len(workers)} on {', '.join(devices)}; last report {max(ages):.1f} s ago"
    if min(ages) < -CLOCKS_S:
        words = f"one reports from {-min(ages):.1f} s ahead: synchronize the machines' clocks (NTP)"
        return Check("workers", "warning", words)
    return Check("workers", "ok", words)


def look_at_webhooks(http: httpx2.Client) -> Check:
    """Look whether there is a secret to sign with, whether the couriers send what is due, and what
    came of the last deliveries."""
    name = "webhooks"
    waiting = http.get(DELIVERIES, params={"status": "waiting", "limit": 200})
    if waiting.status_code != 200:
        words = str(_json(waiting).get("detail", f"the log is answered by {waiting.status_code}"))
        return Check(name, "skipped", words)
    trial = {**KNOWN_JOBS[0].spec, "webhook": {"url": "https://example.org/"}}
    refusal = _json(http.post("/v1/jobs/validate", json=trial))
    has_secret = all(each["code"] != "no_secret" for each in refusal.get("errors", ()))
    left = _json(waiting).get("data", [])
    if not has_secret:
        words = "there is no secret to sign with, so they are refused"
        if left:
            out = f"{words}, and {len(left)} wait: make one (`thalweg webhooks secret add`)"
            return Check(name, "failed", out)
        return Check(name, "skipped", f"{words}; `thalweg webhooks secret add` makes one")
    now = datetime.now(UTC)
    due = [now - datetime.fromisoformat(each["next_attempt_at"]) for each in left]
    late = [each.total_seconds() for each in due if each.total_seconds() > LATE_S]
    if late:
        words = (
            f"{len(late)} should have been sent, one {max(late):.0f} s ago: no worker sends them"
        )
        return Check(name, "failed", f"{words}; start one, or look into the workers' logs")
    ended = _read(http, DELIVERIES, status=["delivered", "failed", "gone"], limit=50).get(
        "data", []
    )
    lost = [each for each in ended if each["status"] != "delivered"]
    again = [each for each in left if each["num_attempts"]]
    words = f"{len(ended) - len(lost)} of the last {len(ended)} delivered, {len(left)} wait"
    if lost or again:
        last = max([*lost, *again], key=lambda each: str(each["created_at"]))
        tries = last["attempts"] or [{"error": "nothing was sent"}]
        words += f", {len(again)} of them for another try; the last that failed, to {last['url']}:"
        return Check(name, "warning", f"{words} {tries[-1]['error']} ({DELIVERIES} has them all)")
    return Check(name, "ok", words)


def do(http: httpx2.Client, known: KnownJob) -> Check:
    """Have a job done, compare its answer with the known one, and delete it."""
    reply = http.post("/v1/jobs", json={**known.spec, "labels": {"thalweg": "doctor"}})
    if reply.status_code != 202:
        return Check(known.name, "failed", _json(reply).get("detail", f"{reply.status_code}"))
    path = reply.json()["links"]["self"]
    reply = http.get(path, params={"wait": int(JOB_S) - 5})
    if reply.status_code != 200:
        return Check(known.name, "failed", _json(reply).get("detail", f"{reply.status_code}"))
    job: dict[str, Any] = reply.json()
    if job["status"] not in {"succeeded", "failed", "cancelled"}:
        why = job["progress"].get("waiting_for") or job["status"]
        http.post(f"{path}/cancel")
        return Check(known.name, "failed", f"not done after {JOB_S - 5:.0f} s: {why}")
    http.delete(path)
    if job["status"] != "succeeded":
        error: dict[str, Any] = job["error"] or {"message": f"it was {job['status']}"}
        return Check(known.name, "failed", str(error["message"]))
    return _compared(known, job)


def _compared(known: KnownJob, job: dict[str, Any]) -> Check:
    solution = job["result"]["solution"]
    if isinstance(solution, list):
        solution = {f"x{number}": value for number, value in enumerate(solution, start=1)}
    for name, value in known.answer.items():
        found = solution[name]
        if isinstance(found, str) or abs(found - value) > 1e-9 * max(1.0, abs(value)):
            words = f"{name} is {found}, and should be {value}: the arithmetic of a worker is off"
            return Check(known.name, "failed", words)
    verdict = (job["diagnosis"] or {}).get("verdict")
    if known.verdict is not None and verdict != known.verdict:
        return Check(known.name, "failed", f"its verdict is {verdict}, not {known.verdict}")
    said = ", ".join(f"{name} {value:.9g}" for name, value in known.answer.items())
    return Check(known.name, "ok", f"{said}{f', {verdict}' if known.verdict else ''}")


def _read(http: httpx2.Client, path: str, **query: Any) -> dict[str, Any]:
    return _json(http.get(path, params=query))


def _json(reply: httpx2.Response) -> dict[str, Any]:
    try:
        found = reply.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _descent(
    start: tuple[float, ...],
    gradient: Callable[[tuple[float, ...]], tuple[float, ...]],
    lr: float,
    steps: int,
) -> dict[str, float]:
    """Take the steps of gradient descent in Python's own float64."""
    point = start
    for _ in range(steps):
        point = tuple(x - lr * g for x, g in zip(point, gradient(point), strict=True))
    return {f"x{number}": value for number, value in enumerate(point, start=1)}


def _of_rosenbrock(point: tuple[float, ...]) -> tuple[float, ...]:
    x, y = point
    return -2 * (1 - x) - 400 * x * (y - x * x), 200 * (y - x * x)


def _job(
    function: dict[str, Any], start: Any, lr: float, steps: int, **more: Any
) -> dict[str, Any]:
    return {
        "problem": {"kind": "function", "function": function, "start": start},
        "optimizer": {"kind": "sgd", "lr": lr},
        "budget": {"max_steps": steps},
        "precision": "float64",
        **more,
    }


KNOWN_JOBS: Final = (
    KnownJob(
        "quadratic",
        _job({"kind": "expression", "expression": "x1**2"}, {"x1": 10.0}, 0.2, 10),
        _descent((10.0,), lambda point: (2 * point[0],), 0.2, 10),
    ),
    KnownJob(
        "Rosenbrock",
        _job({"kind": "rosenbrock", "dim": 2}, [-1.2, 1.0], 0.001, 200),
        _descent((-1.2, 1.0), _of_rosenbrock, 0.001, 200),
    ),
    KnownJob(
        "saddle",
        _job(
            {"kind": "expression", "expression": "x1**2 - x2**2"},
            {"x1": 1.0, "x2": 0.0},
            0.1,
            200,
            diagnose="full",
        ),
        _descent((1.0, 0.0), lambda point: (2 * point[0], -2 * point[1]), 0.1, 200),
        verdict="saddle_point",
    ),
)
"""A quadratic (from 10 at rate 0.2: 10 · 0.6¹⁰ = 0.060466 after 10 steps), a narrow valley, and a
saddle that the descent walks into."""
