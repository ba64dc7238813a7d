"""`thalweg keys`: what it prints, what it stores, what it refuses."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from typer.testing import CliRunner, Result

from core.artifacts.build import open_artifacts
from core.keys import digest_of
from core.store.redis.keys import RedisKeys
from thalweg_service.keys import commands

Call = Callable[..., Result]
TOKEN = re.compile(r"thw_[A-Za-z0-9_-]{43}")


@pytest.fixture
def call(redis_url: str, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.setenv("THALWEG_REDIS_URL", redis_url)
    monkeypatch.setenv("THALWEG_NAMESPACE", namespace)
    monkeypatch.setenv("THALWEG_ARTIFACTS", str(tmp_path / "artifacts"))
    return lambda *words: CliRunner().invoke(commands, list(words))


def made(done: Result) -> Any:
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_key_is_shown_once_and_listed_without_it(call: Call, tmp_path: Path) -> None:
    done = call("create", "--owner", "acme", "--name", "robot", "--expires-in", "90d")
    assert done.exit_code == 0
    assert TOKEN.fullmatch(done.stdout.strip())
    assert "once" in done.stderr
    listed = call("list")
    assert done.stdout.strip() not in listed.stdout
    assert all(word in listed.stdout for word in ("robot", "acme", "read,write", "never"))
    assert open_artifacts(str(tmp_path / "artifacts")).has_keys()
    (key,) = made(call("list", "--json"))
    assert key.keys() == {
        "id", "owner", "scopes", "created_at", "name", "expires_at", "revoked_at", "rotated_at",
        "last_used_at", "state", "limits",
    }  # fmt: skip
    lasts = datetime.fromisoformat(key["expires_at"]) - datetime.fromisoformat(key["created_at"])
    assert lasts == timedelta(days=90)
    assert set(key["limits"].values()) == {None}


def test_what_is_made_is_what_was_asked_for(call: Call, redis_url: str, namespace: str) -> None:
    words = ["--requests-per-s", "2.5", "--max-queued", "10", "--max-running", "2"]
    words += ["--max-stored", "5GiB", "--device-s-per-day", "3600"]
    key = made(call("create", "--owner", "ada@acme", "--scopes", "admin,read", "--json", *words))
    assert key["scopes"] == ["read", "admin"]
    assert key["limits"] == {
        "requests_per_s": 2.5,
        "queued": 10,
        "running": 2,
        "stored_bytes": 5 * 2**30,
        "device_s_per_day": 3600.0,
    }
    keys = RedisKeys(redis_url, namespace)
    stored = keys.get(key["id"])
    assert vars(stored.limits) == key["limits"]
    assert stored.scopes == ("read", "admin")
    assert digest_of(key["key"]) is not None
    keys.disconnect()


def test_keys_are_rotated_and_revoked_by_name_or_id(call: Call) -> None:
    first = made(call("create", "--owner", "acme", "--name", "robot", "--json"))
    second = made(call("rotate", "robot", "--json"))
    assert second["id"] == first["id"]
    assert second["key"] != first["key"]
    assert TOKEN.fullmatch(call("rotate", first["id"], "--grace", "1h").stdout.strip())
    assert call("revoke", "robot").exit_code == 0
    (key,) = made(call("list", "--json"))
    assert key["state"] == "revoked"
    assert "revoked" in call("rotate", first["id"]).stderr
    again = made(call("revoke", first["id"], "--json"))
    assert again["revoked_at"] == key["revoked_at"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("create", "--owner", ""), "owner"),
        (("create", "--owner", "a b"), "owner"),
        (("create", "--owner", "../x"), "owner"),
        (("create", "--owner", 64 * "a"), "owner"),
        (("create", "--owner", "a", "--name", ""), "name"),
        (("create", "--owner", "a", "--name", "x\x07"), "name"),
        (("create", "--owner", "a", "--scopes", "root"), "'root' is no scope"),
        (("create", "--owner", "a", "--scopes", ""), "scope"),
        (("create", "--owner", "a", "--expires-in", "soon"), "no period"),
        (("create", "--owner", "a", "--expires-in", "-1d"), "no period"),
        (("create", "--owner", "a", "--expires-in", "999999999w"), "'999999999w' is longer"),
        (("create", "--owner", "a", "--expires-in", "999999w"), "999999w is beyond the year"),
        (("create", "--owner", "a", "--expires-in", "0s"), "would never be taken"),
        (
            ("create", "--owner", "a", "--max-queued", "9007199254740993"),
            "at most 9007199254740992",
        ),
        (("create", "--owner", "a", "--max-stored", "9000TiB"), "stored_bytes must be"),
        (("create", "--owner", "a", "--max-queued", "0"), "queued must be"),
        (("create", "--owner", "a", "--max-running", "-3"), "running must be"),
        (("create", "--owner", "a", "--max-stored", "much"), "no size"),
        (("create", "--owner", "a", "--requests-per-s", "nan"), "requests_per_s must be"),
        (("create", "--owner", "a", "--device-s-per-day", "inf"), "device_s_per_day must be"),
        (("revoke", "nobody"), "no key 'nobody'"),
        (("rotate", "key_00000000000000000000000000"), "no key"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_and_makes_nothing(
    call: Call, words: tuple[str, ...], said: str
) -> None:
    done = call(*words)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert made(call("list", "--json")) == []


def test_limits_are_listed_to_the_last_digit(call: Call) -> None:
    limits = ("--max-stored", "10GiB", "--max-queued", "1234567", "--requests-per-s", "0.25")
    assert call("create", "--owner", "acme", *limits).exit_code == 0
    listed = call("list").stdout
    for limit in ("stored_bytes=10737418240", "queued=1234567", "requests_per_s=0.25"):
        assert limit in listed


@pytest.mark.parametrize("lasts", [(), ("--expires-in", "0.000001s")], ids=["lasts", "expired"])
def test_a_name_in_use_is_refused(call: Call, lasts: tuple[str, ...]) -> None:
    create = ("create", "--owner", "acme", "--name", "robot")
    assert call(*create, *lasts).exit_code == 0
    (first,) = made(call("list", "--json"))
    done = call("create", "--owner", "other", "--name", "robot")
    assert (done.exit_code, done.stdout) == (1, "")
    assert (
        f"'robot' is the name of {first['id']}, which is not revoked: give another" in done.stderr
    )
    assert [each["id"] for each in made(call("list", "--json"))] == [first["id"]]
    assert call("create", "--owner", "acme", "--name", "Robot").exit_code == 0
    assert call("revoke", "robot").exit_code == 0
    assert call(*create).exit_code == 0
    for _ in range(2):  # without a name there may be any number
        assert call("create", "--owner", "acme").exit_code == 0


def test_a_name_that_two_keys_have_wants_the_id(call: Call, redis_url: str, namespace: str) -> None:
    for name in ("robot", "other"):
        assert call("create", "--owner", "acme", "--name", name).exit_code == 0
    newest = made(call("list", "--json"))[0]["id"]
    with Redis.from_url(redis_url) as redis:  # as a version wrote it that took such a name
        redis.hset(f"{namespace}:key:{newest}", "name", "robot")
    done = call("revoke", "robot")
    assert done.exit_code == 1
    assert "give the id" in done.stderr


def test_a_revoked_key_is_known_by_its_name_as_by_its_id(call: Call) -> None:
    def make() -> str:
        assert call("create", "--owner", "acme", "--name", "robot").exit_code == 0
        return str(made(call("list", "--json"))[0]["id"])

    first = make()
    assert call("revoke", "robot").stdout == f"{first} is revoked.\n"
    for which in ("robot", first):
        again = call("revoke", which)
        assert (again.exit_code, again.stderr) == (0, "")
        assert again.stdout.startswith(f"{first} was revoked already, at 20")
        refused = call("rotate", which)
        assert refused.exit_code == 1
        assert f"{first} is revoked: create a new key" in refused.stderr
    second = make()  # the name is free again, and means the key that is in use
    assert call("revoke", "robot").stdout == f"{second} is revoked.\n"
    for command in ("revoke", "rotate"):
        refused = call(command, "robot")
        assert refused.exit_code == 1
        assert f"All keys named 'robot' are revoked: {second}, {first}." in refused.stderr


def test_a_data_folder_is_opened_whether_or_not_it_is_served(tmp_path: Path) -> None:
    def keys(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-m", "thalweg_service", "keys", *words]
        options = ["--data-dir", str(tmp_path / "data")]
        return subprocess.run(
            [*command, *options], capture_output=True, text=True, timeout=60, check=False, env={}
        )

    missing = keys("list")
    assert missing.returncode == 1
    assert "no data folder" in missing.stderr
    first = keys("create", "--owner", "acme")
    assert TOKEN.fullmatch(first.stdout.strip()), first.stderr
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    assert "acme" in keys("list").stdout
    assert list((tmp_path / "data" / "artifacts").iterdir())
