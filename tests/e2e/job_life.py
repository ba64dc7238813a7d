"""The life of jobs and studies, played over HTTP: any calls in any order, and what must hold.

`python -m tests.e2e.job_life --examples 200` plays it for long.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from core.jobs import MOVES, STATUSES, TERMINAL, Status
from tests.e2e.client import Json, Service, serving
from tests.e2e.specs import expression

MOST_ALIVE = 5


def _reachable() -> dict[Status, frozenset[Status]]:
    """Where a status may lead in any number of moves."""
    found = {status: {status} for status in STATUSES}
    for _ in STATUSES:
        for reached in found.values():
            reached |= {after for status in reached for after in MOVES[status]}
    return {status: frozenset(reached) for status, reached in found.items()}


REACHABLE = _reachable()
_BOWL = {"kind": "sgd", "lr": 0.001}


def _function(steps: int) -> Json:
    return expression("x1**2 + 3*x2**2", {"x1": 1.0, "x2": 2.0}, _BOWL, steps, record={"every": 50})


def _sweep(steps: int) -> Json:
    sweep = {"optimizer.lr": {"values": [0.001, 0.002, 0.003]}}
    return {"base": _function(steps), "sweep": sweep}


BODIES: dict[str, tuple[str, Json]] = {
    "short job": ("/v1/jobs", _function(20)),
    "long job": ("/v1/jobs", _function(6_000)),
    "short study": ("/v1/studies", _sweep(20)),
    "long study": ("/v1/studies", _sweep(8_000)),
}


class Life(RuleBasedStateMachine):
    """Whatever is called in between, statuses move along the table, a pause holds until it is
    resumed, and all comes to an end."""

    service: Service
    """The service that is played with; set on a subclass."""
    made = Bundle("made")

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[str, Status] = {}
        self._asked: set[str] = set()
        """Those of which a pause was asked for, and not resumed since."""

    @rule(target=made, body=st.sampled_from(sorted(BODIES)))
    def post(self, body: str) -> Any:
        if len(self._seen) >= MOST_ALIVE:
            return multiple()
        path, spec = BODIES[body]
        reply = self.service.http.post(path, json=spec)
        assert reply.status_code == 202, reply.text
        found = f"{path}/{reply.json()['id']}"
        self._seen[found] = "queued"
        return found

    @rule(path=made)
    def pause(self, path: str) -> None:
        reply = self._call("POST", path, "pause")
        if reply.status_code == 409:
            assert self._seen[path] in {"cancelling", *TERMINAL}
            return
        record = reply.json()
        assert record["pause_requested_at"]
        assert (reply.status_code == 200) == (record["status"] == "paused")
        assert record["status"] in {"running", "paused"}
        self._asked.add(path)

    @rule(path=made)
    def resume(self, path: str) -> None:
        before = self._look(path)
        self._asked.discard(path)
        reply = self._call("POST", path, "resume")
        if reply.status_code == 409:
            assert self._seen[path] in {"cancelling", *TERMINAL}
            return
        assert reply.json()["pause_requested_at"] is None
        assert reply.json()["status"] in {"queued", "running"}
        if before["status"] == "paused":
            assert reply.status_code == 202

    @rule(path=made)
    def cancel(self, path: str) -> None:
        before = self._look(path)
        reply = self._call("POST", path, "cancel")
        assert reply.status_code in {200, 202}
        if before["status"] in {"queued", "paused"} and reply.status_code == 202:
            assert reply.json()["status"] in {"cancelling", "cancelled"}

    @rule(path=made, wait=st.sampled_from([0.0, 0.3]))
    def read(self, path: str, wait: float) -> None:
        self._look(path, wait=wait)

    @rule(path=consumes(made))
    def delete(self, path: str) -> None:
        before = self._look(path)
        reply = self.service.http.delete(path)
        if before["status"] in TERMINAL:
            assert reply.status_code == 204, reply.text
        elif reply.status_code == 409:
            self._finish(path)
            return
        del self._seen[path]
        self._asked.discard(path)
        assert self.service.http.get(path).status_code == 404

    @rule(status=st.sampled_from(STATUSES))
    def list_by_status(self, status: Status) -> None:
        for noun in ("jobs", "studies"):
            page = self.service.http.get(f"/v1/{noun}", params={"status": status, "limit": 200})
            for each in page.json()["data"]:
                path = f"/v1/{noun}/{each['id']}"
                if path in self._seen:
                    self._saw(path, each)

    @invariant()
    def what_is_paused_stays_so(self) -> None:
        for path in self._asked:
            if self._seen[path] == "paused":
                record = self._look(path)
                assert record["status"] == "paused"
                assert record["progress"]["queue_position"] is None

    def teardown(self) -> None:
        for path in list(self._seen):
            self._finish(path)

    def _finish(self, path: str) -> None:
        """Bring it to its end, and delete it."""
        self.service.http.post(f"{path}/resume")
        self._asked.discard(path)
        while self._look(path, wait=30)["status"] not in TERMINAL:
            pass
        record = self._look(path)
        if record["status"] == "succeeded" and path.startswith("/v1/jobs"):
            assert record["result"]["num_steps"] == record["spec"]["budget"]["max_steps"]
            ends = [each["end"] for each in record["attempts"]]
            assert ends[-1] == "finished"
            assert set(ends[:-1]) <= {"paused", "handed_over"}
        assert record["status"] != "failed", record["error"]
        assert self.service.http.delete(path).status_code == 204
        del self._seen[path]

    def _call(self, method: str, path: str, what: str) -> Any:
        reply = self.service.http.request(method, f"{path}/{what}")
        assert reply.status_code in {200, 202, 409}, reply.text
        if reply.status_code == 409:
            self._look(path)
        else:
            self._saw(path, reply.json())
        return reply

    def _look(self, path: str, wait: float = 0.0) -> Json:
        reply = self.service.http.get(path, params={"wait": wait} if wait else {})
        assert reply.status_code == 200, reply.text
        record: Json = reply.json()
        self._saw(path, record)
        return record

    def _saw(self, path: str, record: Json) -> None:
        """Check what is seen now against what was seen before."""
        before, now = self._seen[path], record["status"]
        assert now in REACHABLE[before], f"{path} went from {before} to {now}"
        if path in self._asked and before == "paused":
            assert now in {"paused", "cancelled"}
        assert (record["finished_at"] is not None) == (now in TERMINAL)
        self._seen[path] = now


def play(service: Service, examples: int, steps: int) -> None:
    """Play so many lives of so many calls each."""

    class Played(Life):
        pass

    Played.service = service
    how = settings(max_examples=examples, stateful_step_count=steps, deadline=None)
    run_state_machine_as_test(Played, settings=how)


def main() -> int:
    """Play on a service of its own."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.job_life")
    parser.add_argument("--examples", type=int, default=150)
    parser.add_argument("--steps", type=int, default=40)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), workers=2) as service:
        play(service, chosen.examples, chosen.steps)
    return 0


if __name__ == "__main__":
    sys.exit(main())
