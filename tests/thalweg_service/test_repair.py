"""A damaged file of the server is said in one line, copied, and cut where it may be; never
silently."""

import fcntl
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from tests.thalweg_service.running import Start
from thalweg_service.append_only_file import FOLDER
from thalweg_service.embedded_redis import DamagedDataError, EmbeddedServer
from thalweg_service.repair import Damage, RepairError, repair

KEYS = 100


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with keys, whose server has ended."""
    folder = tmp_path_factory.mktemp("sound")
    with EmbeddedServer(folder / "redis") as server, redis.Redis.from_url(server.url) as client:
        with client.pipeline(transaction=False) as pipeline:
            for number in range(KEYS // 2):
                pipeline.set(f"key {number}", "v" * 50)
            pipeline.execute()
        for number in range(KEYS // 2, KEYS, 10):  # as a script leaves them: all or none
            code = "for i = ARGV[1], ARGV[1] + 9 do redis.call('SET', 'key ' .. i, 'v') end"
            client.eval(code, 0, str(number))
    return folder


@pytest.fixture
def data(sound: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(sound, tmp_path / "data"))


def files(data: Path) -> dict[str, bytes]:
    folder = data / "redis" / FOLDER
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def appended(data: Path) -> Path:
    (path,) = (data / "redis" / FOLDER).glob("*.incr.aof")
    return path


def started(data: Path) -> int:
    """How many keys the server has, once it is started."""
    with EmbeddedServer(data / "redis") as server, redis.Redis.from_url(server.url) as client:
        return int(client.dbsize())


Change = Callable[[bytes], bytes]
DAMAGES: dict[str, Change] = {
    "zeros at the end": lambda it: it + bytes(300),
    "garbage at the end": lambda it: it + b"hello there\r\n" * 5,
    "random bytes at the end": lambda it: it + bytes(range(256)),
    "a byte in the midst": lambda it: it[:2000] + it[2000:].replace(b"*", b"?", 1),
    "the end written over": lambda it: it[:-100] + bytes(100),
}


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_end_is_cut_off_after_a_copy_was_made(data: Path, how: str) -> None:
    path = appended(data)
    path.write_bytes(DAMAGES[how](path.read_bytes()))
    before, said, seen = files(data), list[str](), list[Damage]()
    with pytest.raises(DamagedDataError):
        started(data)

    def agree(damage: Damage) -> bool:
        assert files(data) == before  # nothing has been changed yet
        seen.append(damage)
        return True

    repair(data, agree=agree, say=said.append)
    (damage,) = seen
    assert damage.lost_bytes > 0
    assert path.read_bytes() == before[path.name][: damage.sound_bytes]
    (kept,) = (data / "redis").glob(f"{FOLDER}-*")
    assert {each.name: each.read_bytes() for each in kept.iterdir()} == before
    assert str(kept) in said[0]
    assert str(damage.lost_bytes) in said[0]
    number = started(data)
    assert number == KEYS if "at the end" in how else number < KEYS
    assert number <= KEYS // 2 or number % 10 == 0  # no half of a script


def test_who_does_not_agree_changes_nothing(data: Path) -> None:
    path = appended(data)
    path.write_bytes(path.read_bytes() + bytes(300))
    before = files(data)
    with pytest.raises(RepairError, match="Nothing was changed"):
        repair(data, agree=lambda damage: False, say=print)
    assert files(data) == before
    assert not list((data / "redis").glob(f"{FOLDER}-*"))


def test_sound_files_are_left_as_they_are(data: Path) -> None:
    before, said = files(data), list[str]()
    repair(data, agree=lambda damage: pytest.fail("asked"), say=said.append)
    assert said == ["The append-only file is sound; nothing was changed."]
    assert files(data) == before


def spoil_base(data: Path) -> None:
    (path,) = (data / "redis" / FOLDER).glob("*.base.rdb")
    content = path.read_bytes()
    path.write_bytes(content[:20] + b"\xff\xff" + content[22:])


def spoil_an_earlier_file(data: Path) -> None:
    path = appended(data)
    manifest = next(path.parent.glob("*.manifest"))
    last = path.with_name(path.name.replace(".1.incr", ".2.incr"))
    shutil.copy(path, last)
    manifest.write_text(manifest.read_text() + f"file {last.name} seq 2 type i\n")
    path.write_bytes(path.read_bytes() + bytes(10))


def remove_manifest(data: Path) -> None:
    next((data / "redis" / FOLDER).glob("*.manifest")).unlink()


@pytest.mark.parametrize(
    "spoil",
    [spoil_base, spoil_an_earlier_file, remove_manifest, lambda data: appended(data).unlink()],
)
def test_what_cannot_be_mended_is_left_to_a_backup(
    data: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(data)
    before = files(data)
    with pytest.raises(RepairError, match="restore a backup"):
        repair(data, agree=lambda damage: pytest.fail("asked"), say=print)
    assert files(data) == before


@pytest.mark.parametrize("lock", ["serve.lock", "redis/lock"])
def test_a_service_at_work_is_not_disturbed(data: Path, lock: str) -> None:
    with (data / lock).open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(RepairError, match="stop it first"):
            repair(data, agree=lambda damage: True, say=print)


def test_a_folder_without_a_server_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RepairError, match="--data-dir"):
        repair(tmp_path, agree=lambda damage: True, say=print)


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "thalweg_service", "repair", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_the_command_cuts_nothing_that_nobody_agreed_to(data: Path) -> None:
    path = appended(data)
    path.write_bytes(path.read_bytes() + bytes(300))
    refused = command("--data-dir", str(data))
    assert refused.returncode == 1
    assert "the last 300 bytes" in refused.stdout
    assert refused.stderr == "thalweg repair: add --yes to have it cut.\n"
    done = command("--data-dir", str(data), "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert started(data) == KEYS


def test_serve_names_the_way_out(data: Path, start: Start) -> None:
    path = appended(data)
    path.write_bytes(path.read_bytes() + bytes(300))
    process = start(data)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.count("\n") == 1
    assert f"thalweg repair --data-dir {data}" in said


def test_an_unfinished_command_is_left_out_and_told(data: Path) -> None:
    path = appended(data)
    path.write_bytes(path.read_bytes() + b"*3\r\n$3\r\nSET\r\n$1\r\na")
    size = len(path.read_bytes())
    with EmbeddedServer(data / "redis") as server:
        assert server.cut_off is not None
        assert path.name in server.cut_off
        assert int(server.cut_off.rpartition(" ")[2]) < size
        server.stop()
        server.start()
        assert server.cut_off is None
