"""The calls that the end-to-end tests of studies make."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from safetensors.numpy import load

from tests.e2e.client import Json, Service


class Studies:
    """Studies of a running service."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.http = service.http

    def post(self, spec: Json) -> str:
        reply = self.http.post("/v1/studies", json=spec)
        assert reply.status_code == 202, reply.text
        study_id: str = reply.json()["id"]
        return study_id

    def get(self, study_id: str, **query: Any) -> Json:
        reply = self.http.get(f"/v1/studies/{study_id}", params=query)
        assert reply.status_code == 200, reply.text
        study: Json = reply.json()
        return study

    def wait(self, study_id: str) -> Json:
        """The study once it is terminal."""
        while True:
            study = self.get(study_id, wait=30)
            if study["finished_at"] is not None:
                return study

    def run(self, spec: Json) -> Json:
        """POST, wait, and insist that it succeeded."""
        study = self.wait(self.post(spec))
        assert study["status"] == "succeeded", study["error"]
        return study

    def until(self, study_id: str, condition: Callable[[Json], Any], timeout_s: float = 60) -> Json:
        """The study once the condition holds of it."""
        give_up = time.monotonic() + timeout_s
        while True:
            study = self.get(study_id)
            if condition(study):
                return study
            assert time.monotonic() < give_up, study
            time.sleep(0.01)

    def runs(self, study_id: str, **query: Any) -> list[Json]:
        reply = self.http.get(f"/v1/studies/{study_id}/runs", params={"limit": 1000, **query})
        assert reply.status_code == 200, reply.text
        runs: list[Json] = reply.json()["data"]
        return runs

    def one(self, study_id: str, index: int) -> Json:
        reply = self.http.get(f"/v1/studies/{study_id}/runs/{index}")
        assert reply.status_code == 200, reply.text
        run: Json = reply.json()
        return run

    def history(self, study_id: str, index: int, **query: Any) -> Json:
        path = f"/v1/studies/{study_id}/runs/{index}/history"
        reply = self.http.get(path, params={"limit": 10_000, **query})
        assert reply.status_code == 200, reply.text
        history: Json = reply.json()
        return history

    def losses(self, study_id: str, index: int, **query: Any) -> list[Any]:
        losses: list[Any] = self.history(study_id, index, **query)["series"]["loss"]
        return losses

    def weights(self, study_id: str, index: int, checkpoint: str) -> dict[str, Any]:
        path = f"/v1/studies/{study_id}/runs/{index}/model"
        reply = self.http.get(path, params={"checkpoint": checkpoint})
        assert reply.status_code == 200, reply.text
        return load(reply.content)

    def all_bytes(self, study: Json) -> list[Any]:
        """All that the study's runs came to, but for times: histories, weights and results."""
        found: list[Any] = []
        for run in self.runs(study["id"]):
            index = run["index"]
            histories = [self.history(study["id"], index, kind=kind)["series"]
                         for kind in ("train", "eval")]  # fmt: skip
            weights = {
                name: value.tobytes()
                for name, value in self.weights(study["id"], index, "final").items()
            }
            result = {**run["result"], "train_s": 0}
            found.append((run["params"], histories, weights, result, run["best"], run["metric"]))
        return found


def assert_close(one: Any, other: Any, tolerance: float) -> None:
    """Numbers in lists, relative to the largest of their series."""
    left, right = np.asarray(one, dtype=float), np.asarray(other, dtype=float)
    assert left.shape == right.shape
    scale = np.max(np.abs(right), initial=1e-300)
    np.testing.assert_allclose(left, right, rtol=0, atol=tolerance * scale)
