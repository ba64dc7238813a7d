"""The jobs of a trial, and what an undisturbed run of each gives: the measure of all others."""

import hashlib
import time
from dataclasses import dataclass
from typing import Any

import httpx2

Json = dict[str, Any]
TERMINAL = {"succeeded", "cancelled", "failed"}


def _supervised(model: Json, optimizer: Json, steps: int, **more: Any) -> Json:
    return {
        "problem": {
            "kind": "supervised",
            "data": {"kind": "builtin", "name": "digits"},
            "model": {"kind": "mlp", **model},
        },
        "optimizer": optimizer,
        "budget": {"max_steps": steps},
        "checkpoint": {"every_steps": 200},
        "max_attempts": 100,
        **more,
    }


TEMPLATES: dict[str, Json] = {
    "dropout": _supervised(
        {"hidden": [64], "dropout": 0.2}, {"kind": "adam", "lr": 0.002}, 3000, seed=1
    ),
    "batch_norm": _supervised(
        {"hidden": [48, 24], "norm": "batch"},
        {"kind": "sgd", "lr": 0.05, "momentum": 0.9},
        2000,
        schedule={"kind": "warmup", "steps": 100, "then": {"kind": "cosine"}},
        record={"every": 3, "eval_every": 170},
    ),
    "plateau": _supervised(
        {"hidden": [32]},
        {"kind": "rmsprop", "lr": 0.01},
        2500,
        schedule={"kind": "reduce_on_plateau", "patience": 50},
        stop={"patience": 2400},
    ),
    "function": {
        "problem": {"kind": "function", "function": {"kind": "rosenbrock", "dim": 4}},
        "optimizer": {"kind": "nadam", "lr": 0.001},
        "budget": {"max_steps": 6000},
        "checkpoint": {"every_steps": 500},
        "max_attempts": 100,
    },
    "lbfgs": {
        "problem": {
            "kind": "function",
            "function": {"kind": "rosenbrock", "dim": 30},
            "start": {"kind": "uniform", "low": -2, "high": 2},
        },
        "optimizer": {"kind": "lbfgs", "lr": 0.05, "max_iter": 4},
        "budget": {"max_steps": 600},
        "checkpoint": {"every_steps": 100},
        "max_attempts": 100,
    },
}


@dataclass(frozen=True)
class Trace:
    """What must not differ: digests of the histories and weights, and the outcome."""

    outcome: str | None
    num_steps: int
    train: str
    evaluation: str
    weights: str


class Client:
    """Calls that go on until they are answered: what a patient caller does."""

    noun = "jobs"
    """Of their paths."""

    def __init__(self, address: str) -> None:
        self._http = httpx2.Client(base_url=address, timeout=20)

    def close(self) -> None:
        self._http.close()

    def call(
        self, method: str, path: str, patience_s: float = 120.0, **options: Any
    ) -> httpx2.Response:
        give_up = time.monotonic() + patience_s
        while True:
            try:
                reply = self._http.request(method, path, **options)
                if reply.status_code < 500:
                    return reply
                problem = f"{reply.status_code} {reply.text[:300]}"
                if reply.status_code != 503:
                    raise AssertionError(f"{method} {path}: {problem}")
            except httpx2.TransportError as error:
                problem = repr(error)
            if time.monotonic() > give_up:
                raise TimeoutError(f"{method} {path} was never answered; last: {problem}")
            time.sleep(0.05)

    def post(self, spec: Json, idempotency_key: str) -> str:
        """Sent again with the same key until a 202: acknowledged once, whatever dies meanwhile."""
        headers = {"Idempotency-Key": idempotency_key}
        reply = self.call("POST", f"/v1/{self.noun}", json=spec, headers=headers)
        assert reply.status_code == 202, reply.text
        posted: str = reply.json()["id"]
        return posted

    def body(self, path: str, **query: Any) -> Json:
        reply = self.call("GET", path, params=query)
        assert reply.status_code == 200, reply.text
        body: Json = reply.json()
        return body

    def get(self, posted: str, wait_s: float = 0.0) -> Json:
        return self.body(f"/v1/{self.noun}/{posted}", wait=wait_s)

    def ended(self, posted: str, patience_s: float = 300.0) -> Json:
        """It once it is terminal, or as it is when patience ends."""
        give_up = time.monotonic() + patience_s
        while True:
            found = self.get(posted, wait_s=5)
            if found["status"] in TERMINAL or time.monotonic() > give_up:
                return found

    def trace(self, job: Json) -> Trace:
        def digest(path: str, **query: Any) -> str:
            reply = self.call("GET", f"/v1/jobs/{job['id']}/{path}", params=query)
            assert reply.status_code == 200, reply.text
            return hashlib.sha256(reply.content).hexdigest()

        return Trace(
            outcome=job["outcome"],
            num_steps=job["result"]["num_steps"],
            train=digest("history", format="csv", limit=10_000),
            evaluation=digest("history", format="csv", kind="eval", limit=10_000),
            weights=digest("model"),
        )

    def losses(self, job_id: str) -> dict[int, Any]:
        """Step -> loss of every row."""
        reply = self.call(
            "GET", f"/v1/jobs/{job_id}/history", params={"series": "loss", "limit": 10_000}
        )
        series = reply.json()["series"]
        return dict(zip(series["step"], series["loss"], strict=True))


def is_prefix(rows: dict[int, Any], whole: dict[int, Any]) -> bool:
    """Whether a cancelled run's rows are the first of a whole run's. Its last row may lie between
    two multiples of `record.every`, where the whole run has none."""
    steps, expected = list(rows), list(whole)[: len(rows)]
    on_grid = steps if not steps or steps[-1] in whole else steps[:-1]
    return on_grid == expected[: len(on_grid)] and all(rows[k] == whole[k] for k in on_grid)
