"""Space is held ahead of the server's file: a disk that fills up in an instant ends no server."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.thalweg_service.running import until
from tests.thalweg_service.small_disk import Filling, mounted
from thalweg_service.append_only_file import FOLDER, SpaceAhead, appended_to
from thalweg_service.embedded_redis import EmbeddedServer

MIB = 2**20
FLOOR = 4 * MIB

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="mounts a file system")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk") as folder:
        yield folder


@pytest.fixture
def server(disk: Path) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(disk / "data", floor_bytes=FLOOR) as server:
        yield server


def part(folder: Path, number: int, size: int = 0) -> Path:
    path = folder / f"appendonly.aof.{number}.incr.aof"
    path.write_bytes(bytes(size))
    return path


def ahead_of(path: Path) -> int:
    """Bytes that are allocated beyond the end of the file."""
    found = path.stat()
    return found.st_blocks * 512 - found.st_size


def last_part(server: EmbeddedServer) -> Path:
    path = appended_to(server.folder / FOLDER)
    assert path is not None
    return path


def write(server: EmbeddedServer, name: str, kib: int) -> None:
    """Write that much, a KiB at a time; each is synced before its answer."""
    with redis.Redis.from_url(server.url) as client:
        for _ in range(kib):
            client.append(name, bytes(1024))


def length(server: EmbeddedServer, name: str) -> int:
    with redis.Redis.from_url(server.url) as client:
        return int(client.strlen(name))


@on_linux
def test_a_disk_that_fills_up_between_two_looks_ends_no_server(
    disk: Path, server: EmbeddedServer
) -> None:
    Filling(disk).leave(0)
    write(server, "rows", 500)
    assert length(server, "rows") == 500 * 1024
    assert server.running
    assert server.keep_off_a_full_disk() is not None  # the look comes late, and refuses writes
    with pytest.raises(redis.ResponseError):
        write(server, "rows", 1)
    assert server.running


@on_linux
def test_the_space_follows_the_file_that_the_server_begins_when_it_writes_its_data_anew(
    disk: Path, server: EmbeddedServer
) -> None:
    first = last_part(server)
    with redis.Redis.from_url(server.url) as client:
        client.bgrewriteaof()
        until(lambda: not first.exists())
    assert server.keep_off_a_full_disk() is None
    Filling(disk).leave(0)
    write(server, "rows", 500)
    assert server.running


@on_linux
def test_a_file_with_space_ahead_is_read_by_the_next_server_as_it_is(
    disk: Path, server: EmbeddedServer
) -> None:
    write(server, "rows", 100)
    path = last_part(server)
    assert ahead_of(path) > 0
    size = path.stat().st_size
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    until(lambda: not server.running)
    Filling(disk).leave(0)
    server.start()  # a full disk: no more can be held, but what is held is
    assert server.cut_off is None
    assert last_part(server) == path
    assert path.stat().st_size == size
    assert ahead_of(path) > 0
    assert length(server, "rows") == 100 * 1024


@on_linux
def test_a_damaged_end_is_cut_off_before_space_ahead_all_the_same(
    disk: Path, server: EmbeddedServer
) -> None:
    write(server, "rows", 100)
    server.stop()
    path = last_part(server)
    os.truncate(path, path.stat().st_size - 5)  # the last command is not whole
    SpaceAhead(path.parent, FLOOR).make_up()
    server.start()
    assert server.cut_off is not None
    assert length(server, "rows") == 99 * 1024
    Filling(disk).leave(0)
    write(server, "rows", 500)
    assert server.running


@on_linux
def test_what_is_used_is_made_up_for_once_half_of_it_is(disk: Path) -> None:
    path = part(disk, 1)
    ahead = SpaceAhead(disk, MIB)
    ahead.make_up()
    assert ahead_of(path) == MIB
    for used, wanted in ((MIB // 2, MIB // 2), (MIB // 2 + 4096, MIB), (5 * MIB, MIB)):
        with path.open("ab") as file:
            file.write(bytes(used - path.stat().st_size))
        ahead.make_up()
        assert path.stat().st_size == used
        assert ahead_of(path) == wanted


@on_linux
def test_only_the_last_file_of_its_kind_has_space_ahead(disk: Path) -> None:
    parts = [part(disk, number, size=4096) for number in (2, 9, 10)]
    others = [disk / name for name in ("appendonly.aof.11.base.rdb", "appendonly.aof.manifest")]
    for other in others:
        other.write_bytes(bytes(4096))
    SpaceAhead(disk, MIB).make_up()
    assert [ahead_of(path) for path in (*parts, *others)] == [0, 0, MIB, 0, 0]


@on_linux
def test_a_full_disk_is_no_error_and_is_tried_again(disk: Path) -> None:
    path = part(disk, 1)
    filling = Filling(disk)
    filling.leave(0)
    ahead = SpaceAhead(disk, MIB)
    ahead.make_up()
    assert ahead_of(path) == 0
    filling.go()
    ahead.make_up()
    assert ahead_of(path) == MIB


def test_a_folder_without_such_a_file_or_that_is_missing_is_no_error(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        SpaceAhead(folder, MIB).make_up()
        assert appended_to(folder) is None
    assert list(tmp_path.iterdir()) == []
