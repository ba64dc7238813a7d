"""What every artifact store does: the same for a folder, for an object store and for memory."""

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from core.artifacts.base import ArtifactStore, Buffer, JobArtifacts, Stored
from core.artifacts.build import open_artifacts
from core.artifacts.memory import MemoryStore
from core.errors import NotFoundError
from core.ids import JOB_PREFIX, STUDY_PREFIX, new_id
from tests.object_server import BUCKET, ObjectServer

JOB = new_id(JOB_PREFIX)
PART = 16 * 2**20
MEMORY = "memory"


@pytest.fixture(params=["local", "s3", MEMORY])
def location(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    if request.param == MEMORY:
        return MEMORY
    if request.param == "local":
        return str(tmp_path / "artifacts")
    server: ObjectServer = request.getfixturevalue("object_server")
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{uuid4().hex}/below"


@pytest.fixture
def store(location: str) -> ArtifactStore:
    return MemoryStore() if location == MEMORY else open_artifacts(location)


@pytest.fixture
def artifacts(store: ArtifactStore) -> JobArtifacts:
    return store.job(JOB)


def test_an_artifact_comes_back_with_its_size_and_checksum(artifacts: JobArtifacts) -> None:
    pieces: list[Buffer] = [b"abc", memoryview(b"def"), b"", bytearray(b"g")]
    stored = artifacts.write("final.safetensors", pieces)
    assert (stored.name, stored.size_bytes) == ("final.safetensors", 7)
    assert stored.sha256 == hashlib.sha256(b"abcdefg").hexdigest()
    assert artifacts.read("final.safetensors") == b"abcdefg"
    opened = artifacts.open("final.safetensors")
    assert opened.size_bytes == 7
    opened.close()


@pytest.mark.parametrize("size", [0, 1, PART, PART + 1, 2 * PART + 12_345])
def test_every_size_comes_back_as_it_was(size: int, artifacts: JobArtifacts) -> None:
    content = (b"0123456789abcde" * (size // 15 + 1))[:size]
    pieces = [content[: size // 3], content[size // 3 :]]
    stored = artifacts.write("final.safetensors", pieces)
    assert stored.size_bytes == size
    assert stored.sha256 == hashlib.sha256(content).hexdigest()
    assert artifacts.read("final.safetensors") == content
    assert artifacts.list() == {"final.safetensors": size}


def test_numbers_are_written_as_their_bytes(artifacts: JobArtifacts) -> None:
    import numpy as np

    numbers = np.arange(6, dtype=np.float64).reshape(2, 3)
    stored = artifacts.write("final.safetensors", [numbers.data])
    assert stored.size_bytes == 48
    assert artifacts.read("final.safetensors") == numbers.tobytes()


def test_large_artifacts_stream_in_pieces(artifacts: JobArtifacts) -> None:
    artifacts.write("final.safetensors", [bytes(5 * 2**20 + 5)])
    opened = artifacts.open("final.safetensors")
    sizes = [len(piece) for piece in opened.chunks()]
    assert sum(sizes) == opened.size_bytes == 5 * 2**20 + 5
    assert max(sizes) <= 2 * 2**20


def test_any_part_can_be_read_by_itself(artifacts: JobArtifacts) -> None:
    content = bytes(range(256)) * 10_000
    artifacts.write("final.safetensors", [content])
    for start, length in ((0, 1), (0, 8), (255, 2), (1_000_001, 70_000), (2_559_999, 1)):
        found = artifacts.read_range("final.safetensors", start, length)
        assert found == content[start : start + length]
    assert artifacts.read_range("final.safetensors", 2_559_000, 9_999) == content[-1_000:]
    assert artifacts.read_range("final.safetensors", 0, 10**9) == content
    with pytest.raises(NotFoundError):
        artifacts.read_range("best.safetensors", 0, 1)


def test_an_artifact_can_be_let_go_of_unread(artifacts: JobArtifacts) -> None:
    artifacts.write("final.safetensors", [bytes(3 * 2**20)])
    artifacts.open("final.safetensors").close()
    half_read = artifacts.open("final.safetensors")
    next(half_read.pieces)
    half_read.close()
    assert len(artifacts.read("final.safetensors")) == 3 * 2**20


def test_writing_again_replaces(artifacts: JobArtifacts) -> None:
    artifacts.write("best.safetensors", [b"longer than the next"])
    artifacts.write("best.safetensors", [b"newer"])
    assert artifacts.read("best.safetensors") == b"newer"
    assert artifacts.list() == {"best.safetensors": 5}


@pytest.mark.parametrize("size", [10, 3 * PART])
def test_a_half_written_artifact_is_never_seen(size: int, artifacts: JobArtifacts) -> None:
    artifacts.write("best.safetensors", [b"whole"])
    seen: list[tuple[dict[str, int], bool, bytes]] = []

    def look() -> None:
        seen.append(
            (
                artifacts.list(),
                artifacts.exists("final.safetensors"),
                artifacts.read("best.safetensors"),
            )
        )

    def pieces() -> Iterator[bytes]:
        yield bytes(size)
        yield bytes(size)
        other = threading.Thread(target=look)
        other.start()
        other.join()
        raise RuntimeError("killed")

    for name in ("final.safetensors", "best.safetensors"):
        with pytest.raises(RuntimeError, match="killed"):
            artifacts.write(name, pieces())
    assert seen == [({"best.safetensors": 5}, False, b"whole")] * 2
    assert artifacts.list() == {"best.safetensors": 5}
    assert artifacts.read("best.safetensors") == b"whole"


def test_what_is_staged_is_seen_once_it_is_finished(artifacts: JobArtifacts) -> None:
    artifacts.write("best.safetensors", [b"whole"])
    new = artifacts.stage("checkpoints/step_5.safetensors", [b"ab", memoryview(b"c")])
    other = artifacts.stage("best.safetensors", [b"newer"])
    assert artifacts.list() == {"best.safetensors": 5}
    assert artifacts.read("best.safetensors") == b"whole"
    assert new.finish() == Stored(
        "checkpoints/step_5.safetensors", 3, hashlib.sha256(b"abc").hexdigest()
    )
    assert other.finish().size_bytes == 5
    assert artifacts.read("checkpoints/step_5.safetensors") == b"abc"
    assert artifacts.read("best.safetensors") == b"newer"


def test_what_is_dropped_or_fails_while_it_is_staged_leaves_nothing(
    artifacts: JobArtifacts,
) -> None:
    artifacts.write("best.safetensors", [b"whole"])
    artifacts.stage("best.safetensors", [b"newer"]).drop()

    def pieces() -> Iterator[bytes]:
        yield b"newer"
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        artifacts.stage("best.safetensors", pieces())
    with pytest.raises(NotFoundError):
        artifacts.stage("../best.safetensors", [b"newer"]).finish()
    assert artifacts.list() == {"best.safetensors": 5}
    assert artifacts.read("best.safetensors") == b"whole"


def test_names_are_listed_in_order_with_their_sizes(artifacts: JobArtifacts) -> None:
    assert artifacts.list() == {}
    for name in ("final.safetensors", "checkpoints/step_5.safetensors", "best.safetensors"):
        artifacts.write(name, [name.encode()])
    assert list(artifacts.list().items()) == [
        ("best.safetensors", 16),
        ("checkpoints/step_5.safetensors", 30),
        ("final.safetensors", 17),
    ]


def test_what_is_not_there_is_not_found(artifacts: JobArtifacts) -> None:
    artifacts.write("checkpoints/step_5.safetensors", [b"1"])
    for name in ("final.safetensors", "checkpoints", "checkpoints/step_6.safetensors"):
        assert not artifacts.exists(name)
        with pytest.raises(NotFoundError):
            artifacts.open(name)
        with pytest.raises(NotFoundError):
            artifacts.read(name)
    assert artifacts.exists("checkpoints/step_5.safetensors")


def test_one_can_be_deleted_and_one_that_is_not_there_too(artifacts: JobArtifacts) -> None:
    artifacts.write("best.safetensors", [b"1"])
    artifacts.write("final.safetensors", [b"1"])
    artifacts.delete("best.safetensors")
    artifacts.delete("best.safetensors")
    assert artifacts.list() == {"final.safetensors": 1}


def test_all_of_a_job_goes_and_nothing_of_another(store: ArtifactStore) -> None:
    one, other = store.job(JOB), store.job(new_id(JOB_PREFIX))
    other.write("final.safetensors", [b"other"])
    for step in range(5):
        one.write(f"checkpoints/step_{step}.safetensors", [b"1"])
    one.write("final.safetensors", [b"1"])
    one.delete_all()
    assert one.list() == {}
    one.delete_all()
    assert other.read("final.safetensors") == b"other"


def test_a_study_has_artifacts_as_a_job_has(store: ArtifactStore) -> None:
    study, job = store.job(new_id(STUDY_PREFIX)), store.job(JOB)
    job.write("final.safetensors", [b"the job's"])
    names = ["paused/0_1.safetensors", "tasks/0_1_a.safetensors", "weights/0_1.safetensors"]
    for name in reversed(names):
        study.write(name, [b"many runs'"])
    assert study.list() == dict.fromkeys(names, 10)
    study.delete_all()
    assert study.list() == {}
    assert job.list() == {"final.safetensors": 9}


def test_nothing_but_jobs_studies_uploads_and_the_note_of_keys_has_artifacts(
    store: ArtifactStore,
) -> None:
    for name in (
        new_id("data"),
        f"{new_id(STUDY_PREFIX)}/x",
        f"{new_id(STUDY_PREFIX)}:1",
        "study_1",
    ):
        with pytest.raises(NotFoundError):
            store.job(name)


@pytest.mark.parametrize("location", ["local", "s3"], indirect=True)
def test_two_openings_of_one_location_see_the_same(location: str) -> None:
    open_artifacts(location).job(JOB).write("final.safetensors", [b"here"])
    assert open_artifacts(location).job(JOB).read("final.safetensors") == b"here"


def test_a_copy_goes_from_job_to_job(store: ArtifactStore) -> None:
    parent, child = store.job(JOB), store.job(new_id(JOB_PREFIX))
    parent.write("checkpoints/step_5.safetensors", [b"state" * 500_000])
    opened = parent.open("checkpoints/step_5.safetensors")
    child.write("checkpoints/step_5.safetensors", opened.chunks())
    parent.delete_all()
    assert child.read("checkpoints/step_5.safetensors") == b"state" * 500_000


def test_a_store_that_works_passes_its_check(store: ArtifactStore) -> None:
    store.check()


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "..", "../x", "a/../b", "/etc/passwd", "a/b/c", "a//b", "a/", "/a", ".hidden",
        "a/.hidden", "x\x00y", "x\ny", "x\n", "A.safetensors", "ä", "a\\b", "a" * 300,
    ],
)  # fmt: skip
def test_no_name_leaves_the_job(name: str, artifacts: JobArtifacts) -> None:
    for call in (artifacts.open, artifacts.read, artifacts.delete, artifacts.exists):
        with pytest.raises(NotFoundError):
            call(name)
    with pytest.raises(NotFoundError):
        artifacts.read_range(name, 0, 1)
    with pytest.raises(NotFoundError):
        artifacts.write(name, [b"x"])
    assert artifacts.list() == {}


@pytest.mark.parametrize(
    "job_id",
    ["", "..", "job_", "job_../../etc", f"{JOB}/..", f"{JOB}\n", "/"],
    ids=lambda job_id: job_id.replace(JOB, "<id>"),
)
def test_no_job_id_leaves_the_store(job_id: str, store: ArtifactStore) -> None:
    with pytest.raises(NotFoundError):
        store.job(job_id)
