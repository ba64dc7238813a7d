"""The embedded server is found, starts privately and durably, and never outlives us."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.thalweg_service.running import until
from thalweg_service.embedded_redis import DISK_FULL, EmbeddedServer
from thalweg_service.server_binary import EmbeddedServerError, find_server


def fake_server(folder: Path, name: str, says: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


def test_a_server_on_the_path_is_preferred_when_it_is_new_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    redis_server = fake_server(tmp_path, "redis-server", "Redis server v=6.2.14 sha=0")
    assert find_server() == redis_server
    valkey_server = fake_server(tmp_path, "valkey-server", "Valkey server v=9.1.2 sha=0")
    assert find_server() == valkey_server


@pytest.mark.parametrize("says", ["Redis server v=6.0.16 sha=0", "what?", ""])
def test_an_old_or_odd_server_on_the_path_is_passed_over(
    says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = fake_server(tmp_path, "redis-server", says)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert find_server() != fake


def test_it_listens_on_a_private_socket_only_and_writes_everything_to_disk(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with EmbeddedServer(folder) as server, redis.Redis.from_url(server.url) as client:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(server.socket.parent.stat().st_mode) == 0o700
        assert stat.S_ISSOCK(server.socket.stat().st_mode)
        wanted = {
            "port": "0",
            "appendonly": "yes",
            "appendfsync": "always",
            "maxmemory-policy": "noeviction",
            "auto-aof-rewrite-min-size": str(512 * 2**20),
        }
        assert {name: client.config_get(name)[name] for name in wanted} == wanted


def test_what_was_written_is_there_after_a_restart_at_the_same_address(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path)
    server.start()
    url = server.url
    with redis.Redis.from_url(url) as client:
        client.set("key", "value")
    server.stop()
    assert not server.running
    assert not server.socket.exists()

    server.start()
    with redis.Redis.from_url(url) as client:
        assert client.get("key") == b"value"
        client.set("key", "other")
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    os.waitid(os.P_PID, server.pid, os.WEXITED | os.WNOWAIT)
    assert not server.running

    server.start()
    with redis.Redis.from_url(url) as client:
        assert client.get("key") == b"other"
    server.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="the server's id is its group's")
def test_what_a_killed_server_was_writing_anew_is_removed_at_the_next_start(
    tmp_path: Path,
) -> None:
    with EmbeddedServer(tmp_path) as server:
        with redis.Redis.from_url(server.url) as client:
            client.set("key", "value")
            client.config_set("rdb-key-save-delay", 600_000_000)  # it would take ten minutes
            client.bgrewriteaof()
        until(lambda: list(tmp_path.glob("temp-*")))
        assert server.pid is not None
        os.killpg(server.pid, signal.SIGKILL)
        until(lambda: not server.running)
        assert list(tmp_path.glob("temp-*"))

        server.start()
        assert not list(tmp_path.glob("temp-*"))
        with redis.Redis.from_url(server.url) as client:
            assert client.get("key") == b"value"


def test_a_folder_too_deep_for_a_socket_gets_a_short_private_one(tmp_path: Path) -> None:
    folder = tmp_path / ("deep" * 20) / "with space"
    with EmbeddedServer(folder) as server:
        assert len(os.fsencode(server.socket)) <= 100
        assert stat.S_IMODE(server.socket.parent.stat().st_mode) == 0o700
        with redis.Redis.from_url(server.url) as client:
            assert client.ping()
        assert EmbeddedServer(folder).url == server.url
    assert not server.socket.parent.exists()


def test_two_servers_never_share_a_folder(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path) as server:
        second = EmbeddedServer(tmp_path, lock_timeout_s=0.0)
        with pytest.raises(EmbeddedServerError, match="Another server is using"):
            second.start()
        assert server.running
        with redis.Redis.from_url(server.url) as client:
            assert client.ping()


@pytest.mark.parametrize("trap", ["file", "link"])
def test_a_folder_that_is_none_is_one_clear_line(trap: str, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    if trap == "file":
        folder.write_text("")
    else:
        (tmp_path / "elsewhere").mkdir()
        folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EmbeddedServerError, match="data") as error:
        EmbeddedServer(folder).start()
    assert "\n" not in str(error.value)


def test_a_server_that_cannot_start_says_its_last_words(tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").write_text("not a folder")
    server = EmbeddedServer(tmp_path)
    with pytest.raises(EmbeddedServerError, match="ended at its start") as error:
        server.start()
    assert "\n" not in str(error.value)
    assert not server.running


def test_a_binary_that_is_none_is_one_clear_line(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path / "data", binary=tmp_path / "nothing")
    with pytest.raises(EmbeddedServerError, match="nothing"):
        server.start()


@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's signal is Linux's")
def test_it_ends_within_a_second_when_its_starter_is_killed(watched: bool, tmp_path: Path) -> None:
    code = """
import sys, time
from pathlib import Path
from thalweg_service.embedded_redis import EmbeddedServer
server = EmbeddedServer(Path(sys.argv[1]), watched=sys.argv[2] == "True")
server.start()
print(server.pid, flush=True)
time.sleep(60)
"""
    starter = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), str(watched)], stdout=subprocess.PIPE, text=True
    )
    assert starter.stdout is not None
    assert int(starter.stdout.readline()) > 0
    with redis.Redis.from_url(EmbeddedServer(tmp_path).url) as client:
        pid = int(client.info("server")["process_id"])
    handle = os.pidfd_open(pid)
    starter.kill()
    starter.wait()
    starter.stdout.close()

    assert select_readable(handle, timeout_s=60.0), "the server lives on"
    os.close(handle)


def select_readable(handle: int, timeout_s: float) -> bool:
    """A process's descriptor becomes readable when the process has ended."""
    import select

    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


class Disk:
    """A disk with as much free as a test says."""

    def __init__(self, free: int) -> None:
        self.free = free

    def __call__(self, folder: Path) -> int:
        return self.free


FLOOR = 2**24


@pytest.fixture
def disk() -> Disk:
    return Disk(2 * FLOOR)


@pytest.fixture
def guarded(tmp_path: Path, disk: Disk) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(tmp_path, fsync=False, floor_bytes=FLOOR, free=disk) as server:
        yield server


def test_a_full_disk_has_writes_refused_and_everything_read_until_there_is_space_again(
    guarded: EmbeddedServer, disk: Disk
) -> None:
    with redis.Redis.from_url(guarded.url) as client:
        client.set("known", "1")
        client.hset("hash", "field", "1")
        assert guarded.keep_off_a_full_disk() is None
        disk.free = FLOOR - 1
        assert guarded.keep_off_a_full_disk() == DISK_FULL
        assert guarded.keep_off_a_full_disk() is None
        assert not guarded.takes_writes
        for write in (("SET", "new", "1"), ("HSET", "hash", "field", "2"), ("ZADD", "z", 1, "a")):
            with pytest.raises(redis.ResponseError, match=r"OOM|memory"):
                client.execute_command(*write)
            with pytest.raises(redis.ResponseError, match=r"OOM|memory"):
                client.eval("return redis.call(unpack(ARGV))", 0, *map(str, write))
        assert client.get("known") == b"1"
        assert client.eval("return redis.call('HGET', 'hash', 'field')", 0) == b"1"
        assert client.delete("hash") == 1  # makes space
        disk.free = FLOOR + 1
        assert guarded.keep_off_a_full_disk() is None  # no flapping at the limit
        assert not guarded.takes_writes
        disk.free = 2 * FLOOR
        assert guarded.keep_off_a_full_disk() == (
            "the disk has space again; the server takes writes"
        )
        client.set("new", "1")


def test_the_last_bytes_of_a_disk_are_nobodys(guarded: EmbeddedServer, disk: Disk) -> None:
    with redis.Redis.from_url(guarded.url) as client:
        client.set("known", "1")
        disk.free = 1000
        assert guarded.keep_off_a_full_disk() == DISK_FULL
        with pytest.raises(redis.ResponseError, match=r"NOREPLICAS|replicas"):
            client.delete("known")
        assert client.get("known") == b"1"
        disk.free = FLOOR - 1
        assert guarded.keep_off_a_full_disk() is None
        assert client.delete("known") == 1


def test_a_server_that_starts_on_a_full_disk_refuses_writes_from_its_first_moment(
    guarded: EmbeddedServer, disk: Disk
) -> None:
    with redis.Redis.from_url(guarded.url) as client:
        client.set("known", "1")
        assert guarded.pid is not None
        os.kill(guarded.pid, signal.SIGKILL)
        until(lambda: not guarded.running)
        disk.free = 0
        guarded.start()
        assert client.get("known") == b"1"
        with pytest.raises(redis.ResponseError):
            client.set("known", "2")


def test_without_a_floor_the_disk_is_not_asked(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path, fsync=False, free=Disk(0)) as server:
        assert server.keep_off_a_full_disk() is None
        with redis.Redis.from_url(server.url) as client:
            assert client.set("new", "1")
