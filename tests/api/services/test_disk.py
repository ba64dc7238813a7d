"""New work is refused before the store's disk is full; what is known already is answered."""

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from api.services import disk
from api.services.disk import Reserve
from core.settings import Settings
from tests.api.actors import make_app, problem_of, rosenbrock


class Disk:
    def __init__(self, free: int | OSError) -> None:
        self.free = free
        self.looks = 0

    def __call__(self, folder: Path) -> int:
        self.looks += 1
        if isinstance(self.free, OSError):
            raise self.free
        return self.free


@pytest.mark.parametrize(
    ("free", "low"), [(99, True), (100, False), (10**12, False), (OSError("gone"), False)]
)
def test_a_reserve_is_low_below_its_bytes(free: int | OSError, low: bool) -> None:
    assert Reserve(Path("/"), 100, Disk(free)).is_low() is low
    assert Reserve(None, 100, Disk(free)).is_low() is False


def test_it_looks_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    it = Disk(99)
    reserve = Reserve(Path("/"), 100, it)
    assert [reserve.is_low() for _ in range(100)] == [True] * 100
    assert it.looks < 20
    monkeypatch.setattr(disk, "LOOK_EVERY_S", 0.0)
    it.free = 100
    reserve = Reserve(Path("/"), 100, it)
    assert not reserve.is_low()
    it.free = 99
    assert reserve.is_low()


def test_a_real_disk_is_asked(tmp_path: Path) -> None:
    assert not Reserve(tmp_path, 1).is_low()
    assert Reserve(tmp_path, 2**62).is_low()
    assert not Reserve(tmp_path / "not there", 2**62).is_low()


STUDY = {"base": rosenbrock(), "repeats": 2}
NEW_WORK = {
    "a job": ("/v1/jobs", rosenbrock()),
    "a study": ("/v1/studies", STUDY),
}


@pytest.mark.parametrize("what", NEW_WORK)
def test_new_work_is_refused_and_a_repeated_request_is_answered(
    settings: Settings, what: str
) -> None:
    path, body = NEW_WORK[what]
    it = Disk(100)
    with TestClient(
        make_app(settings, is_low=lambda: it(Path("/")) < 100), "http://localhost"
    ) as http:
        known = http.post(path, json=body, headers={"Idempotency-Key": "known"})
        assert known.status_code == 202
        it.free = 99
        refused = http.post(path, json=body, headers={"Idempotency-Key": "new"})
        assert "delete" in problem_of(refused, 503, "storage_full")["detail"]
        assert int(refused.headers["retry-after"]) >= 1
        again = http.post(path, json=body, headers={"Idempotency-Key": "known"})
        assert (again.status_code, again.json()["id"]) == (202, known.json()["id"])
        assert http.get(f"{path}/{known.json()['id']}").status_code == 200
        assert len(http.get(path).json()["data"]) == 1
        assert http.post(f"{path}/{known.json()['id']}/cancel").status_code in {200, 202}
        assert http.delete(f"{path}/{known.json()['id']}").status_code == 204
        it.free = 100
        assert http.post(path, json=body, headers={"Idempotency-Key": "new"}).status_code == 202
