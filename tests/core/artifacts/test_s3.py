"""An object store: its refusals in the product's words, outages, and what is never shown."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.artifacts.base import ArtifactStore, JobArtifacts
from core.artifacts.build import open_artifacts
from core.errors import ArtifactError
from core.ids import JOB_PREFIX, new_id
from core.settings import Settings
from tests.object_server import BUCKET, KEY_ID, SECRET, ObjectServer

JOB = new_id(JOB_PREFIX)
Connect = Callable[..., ArtifactStore]


@pytest.fixture
def connect(object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Opens a store, with changes of the environment."""

    def open_(location: str = f"s3://{BUCKET}/here", **changes: str) -> ArtifactStore:
        for name, value in (object_server.environment | changes).items():
            monkeypatch.setenv(name, value)
        return open_artifacts(location, patience_s=0.5)

    return open_


def every_call(artifacts: JobArtifacts) -> Iterator[Callable[[], object]]:
    name = "final.safetensors"
    yield lambda: artifacts.write(name, [b"1"])
    yield lambda: artifacts.write(name, [bytes(20 * 2**20)])
    yield lambda: artifacts.open(name)
    yield lambda: artifacts.read(name)
    yield lambda: artifacts.read_range(name, 0, 1)
    yield artifacts.list
    yield artifacts.delete_all


@pytest.mark.parametrize(
    ("location", "changes", "reason"),
    [
        ("s3://no-such-bucket", {}, "NoSuchBucket"),
        (f"s3://{BUCKET}", {"AWS_SECRET_ACCESS_KEY": "wrong-secret"}, "SignatureDoesNotMatch"),
        (f"s3://{BUCKET}", {"AWS_ACCESS_KEY_ID": "wrong-key"}, "InvalidAccessKeyId"),
        (f"s3://{BUCKET}", {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "does not answer"),
    ],
)
def test_a_store_that_refuses_says_why_and_shows_no_key(
    location: str, changes: dict[str, str], reason: str, connect: Connect
) -> None:
    store = connect(location, **changes)
    for call in (*every_call(store.job(JOB)), store.check):
        with pytest.raises(ArtifactError, match=reason) as refused:
            call()
        error: BaseException | None = refused.value
        assert refused.value.__suppress_context__
        for secret in (KEY_ID, SECRET, "wrong-", "127.0.0.1", "Signature="):
            assert secret not in str(error)


def test_a_failed_call_names_the_artifact_and_the_operation(connect: Connect) -> None:
    artifacts = connect("s3://no-such-bucket").job(JOB)
    with pytest.raises(ArtifactError) as refused:
        artifacts.write("final.safetensors", [b"1"])
    assert str(refused.value) == (
        f"artifact 'final.safetensors' of {JOB} could not be written:"
        " the object store answers NoSuchBucket"
    )
    with pytest.raises(ArtifactError, match=f"artifacts of {JOB} could not be listed"):
        artifacts.list()


def test_a_short_outage_is_waited_out(tmp_path: Path, connect: Connect) -> None:
    server = ObjectServer(tmp_path / "buckets")
    store = connect(AWS_ENDPOINT_URL=server.environment["AWS_ENDPOINT_URL"])
    with pytest.raises(ArtifactError, match="does not answer"):
        store.check()
    with server:
        store.job(JOB).write("final.safetensors", [b"1"])
        server.stop()
        with pytest.raises(ArtifactError, match="does not answer"):
            store.job(JOB).read("final.safetensors")
        server.start()
        assert store.job(JOB).read("final.safetensors") == b"1"


def test_a_server_that_dies_in_mid_upload_shows_nothing_of_it(
    tmp_path: Path, connect: Connect
) -> None:
    server = ObjectServer(tmp_path / "buckets")
    artifacts = connect(AWS_ENDPOINT_URL=server.environment["AWS_ENDPOINT_URL"]).job(JOB)

    def pieces() -> Iterator[bytes]:
        yield bytes(40 * 2**20)
        server.stop()
        yield bytes(40 * 2**20)

    with server:
        with pytest.raises(ArtifactError, match="could not be written"):
            artifacts.write("final.safetensors", pieces())
        server.start()
        assert artifacts.list() == {}
        assert not artifacts.exists("final.safetensors")


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"])
def test_keys_do_not_travel_unencrypted_unless_the_operator_says_so(
    name: str, connect: Connect
) -> None:
    with pytest.raises(ArtifactError, match="not encrypted: use https"):
        connect(**{name: "http://192.0.2.1:9000"})
    connect(**{name: "http://192.0.2.1:9000", "AWS_ALLOW_HTTP": "true"})
    connect(**{name: "https://192.0.2.1:9000", "AWS_ALLOW_HTTP": ""})


@pytest.mark.parametrize(
    "location",
    [
        "http://bucket/prefix", "gs://bucket", "s3://", "s3://bucket?x=1", "s3://bucket/a//b",
        f"s3://{KEY_ID}:{SECRET}@bucket/prefix", "s3://Bucket", "s3://bucket/a b", "file:///tmp",
    ],
)  # fmt: skip
def test_a_location_that_is_none_is_refused_without_being_quoted(location: str) -> None:
    with pytest.raises(ValueError, match="s3://bucket/prefix") as refused:
        Settings(artifacts=location)
    assert SECRET not in refused.value.errors()[0]["msg"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("location", ["s3://bucket", "s3://my.bucket-1/a/b_c/", "/a/b", "./x", "~"])
def test_folders_and_buckets_are_locations(location: str) -> None:
    found = Settings(artifacts=location).artifacts_location
    assert found == location if location.startswith("s3") else Path(found).is_absolute()


def test_a_folder_needs_no_object_store_library() -> None:
    code = (
        "import sys; from core.artifacts.build import open_artifacts; open_artifacts('/x');"
        "sys.exit('obstore' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
