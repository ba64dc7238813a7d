"""The client and the command where the service wants a key."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import thalweg
from core.ids import rfc3339, utc_now
from core.keys import KeyRecord, new_key_id
from core.store.redis.keys import RedisKeys
from tests.api.actors import rosenbrock
from tests.api.events.conftest import running
from tests.client.test_client import create


def made(keys: RedisKeys, owner: str, *scopes: Any) -> str:
    return keys.create(KeyRecord(new_key_id(), owner, scopes, rfc3339(utc_now())))


def test_a_key_is_asked_for_given_and_obeyed(
    redis_url: str, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("THALWEG_KEY", raising=False)
    keys = RedisKeys(redis_url, namespace)
    ann, ben = made(keys, "ann", "read", "write"), made(keys, "ben", "read")
    keys.disconnect()
    with running(redis_url, namespace, tmp_path) as live:
        url = live.process.address
        for key in (None, "thw_wrong"):
            with thalweg.Client(url, key=key) as client:
                with pytest.raises(thalweg.NotAllowedError, match="THALWEG_KEY") as caught:
                    list(client.jobs.list())
                assert (caught.value.status, caught.value.code) == (401, "not_authenticated")
        with thalweg.Client(url, key=ann) as client:
            job = create(client, rosenbrock())
            assert [each.id for each in client.jobs.list()] == [job.id]
        monkeypatch.setenv("THALWEG_KEY", ben)
        with thalweg.Client(url) as client:
            assert list(client.jobs.list()) == []
            with pytest.raises(thalweg.NotFoundError):
                client.jobs.get(job.id)
            with pytest.raises(thalweg.NotAllowedError, match="needs write") as caught:
                create(client, rosenbrock())
            assert (caught.value.status, caught.value.code) == (403, "missing_scope")

        def command(*words: str) -> subprocess.CompletedProcess[str]:
            start = [sys.executable, "-P", "-m", "thalweg_service", "--url", url, *words]
            return subprocess.run(start, capture_output=True, text=True, timeout=60, check=False)

        assert job.id in command("--key", ann, "jobs").stdout  # typed beats the environment's
        assert job.id in command("jobs", "--key", ann).stdout
        refused = command("--key", "thw_wrong", "jobs")
        assert refused.returncode != 0
        assert "--key or THALWEG_KEY" in refused.stderr
        assert "thw_wrong" not in refused.stderr
