"""Artifacts in a bucket of an object store that speaks S3: `<prefix>/<job id>/<name>`.

An object store makes an object visible only when it is complete, so a writer that dies leaves
nothing that anyone could read; the parts of a large upload that was cut off are hidden, and the
bucket's lifecycle rule removes them (docs/operators.md).

Endpoint, region and keys come from the usual `AWS_…` variables of the environment.
"""

import hashlib
import ipaddress
import os
import re
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from core.artifacts.base import (
    PIECE_BYTES,
    ArtifactStore,
    Buffer,
    JobArtifacts,
    OpenArtifact,
    Stored,
)
from core.errors import ArtifactError

PART_BYTES: Final = 16 * 2**20
"""Size of a part. Up to this size an object is one request; larger ones are sent in parts (an
object store takes 10,000)."""
PARTS_AT_ONCE: Final = 4
REQUEST_TIME: Final = timedelta(seconds=60)
"""Time limit of one request, a part's upload included: a server that has hung does not hold up a
job."""
READING_TIME: Final = timedelta(hours=6)
"""A whole object's, to a slow reader; a server silent for `SILENCE` does not get it."""
SILENCE: Final = timedelta(seconds=30)
_DELETED_AT_ONCE: Final = 1000
_INSTANCE_KEYS: Final = "http://169.254.169.254/"
"""Address at which keys are looked for when none are set: a machine at Amazon has its own there."""
_NO_BUCKET: Final = "<Code>NoSuchBucket</Code>"
_WHOLE: Final = "non-partial response"
"""obstore's words for a store that answers a range with a 200 (gofakes3 does, rclone's server)."""
_CODE: Final = re.compile(r"<Code>([A-Za-z0-9]{1,60})</Code>")
_STATUS: Final = re.compile(r"status code: (\d{3}) ")
_ENDPOINTS: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_FAILURES: Final = (BaseError, OSError, ValueError)
"""Exceptions that obstore raises."""


class ObjectStore(ArtifactStore):
    """A bucket, or a part of one, that every worker and the API reach.

    Args:
        url: `s3://bucket/prefix`.
        patience_s: a request that fails for reasons that may pass is repeated for so long.

    Raises:
        ArtifactError: the endpoint is not encrypted and not on this machine.
    """

    def __init__(self, url: str, patience_s: float) -> None:
        parts = urlsplit(url)
        http = _http_allowed()

        def client(timeout: timedelta) -> S3Store:
            return S3Store(
                parts.netloc,
                prefix=parts.path.strip("/") or None,
                client_options={
                    "allow_http": http,
                    "connect_timeout": timedelta(seconds=min(5.0, patience_s)),
                    "read_timeout": SILENCE,
                    "timeout": timeout,
                },
                retry_config={
                    "max_retries": 50,
                    "retry_timeout": timedelta(seconds=patience_s),
                    "backoff": {
                        "init_backoff": timedelta(milliseconds=100),
                        "max_backoff": timedelta(seconds=2),
                        "base": 2,
                    },
                },
            )

        self._store = client(REQUEST_TIME)
        self._readable = client(READING_TIME)

    def job(self, job_id: str) -> "ObjectJob":
        return ObjectJob(self._store, self._readable, job_id)

    def check(self) -> None:
        """Check that the bucket can be listed with these keys."""
        try:
            # A prefix that nothing has: the shortest answer.
            next(iter(obstore.list(self._store, prefix=".check")), None)
        except _FAILURES as error:
            raise ArtifactError(_reason(error)) from None


class ObjectJob(JobArtifacts):
    """The artifacts of one job, under a prefix of its own."""

    def __init__(self, store: S3Store, readable: S3Store, job_id: str) -> None:
        super().__init__(job_id)
        self._store = store
        self._readable = readable

    def write(self, name: str, pieces: Iterable[Buffer]) -> Stored:
        path = self._path(name)
        digest = hashlib.sha256()
        size = 0
        # Never obstore's `put` of an iterator: a piece that takes its time holds up the requests.
        writer = obstore.open_writer(
            self._store, path, buffer_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE
        )
        for piece in pieces:
            view = memoryview(piece).cast("B")
            digest.update(view)
            size += len(view)
            with self._errors(name, "written"):
                writer.write(view)
        # Only now the object appears. A writer that is not closed leaves hidden parts at most.
        with self._errors(name, "written"):
            writer.close()
        return Stored(name, size, digest.hexdigest())

    def open(self, name: str) -> OpenArtifact:
        path = self._path(name)
        with self._errors(name, "read"):
            try:
                found = obstore.get(self._readable, path)
            except FileNotFoundError as error:
                if _NO_BUCKET in str(error):
                    raise
                raise self._missing(name) from None
            pieces = self._pieces(name, found.stream(min_chunk_size=PIECE_BYTES))
            return OpenArtifact(found.meta["size"], pieces, pieces.close)

    def read_range(self, name: str, start: int, length: int) -> bytes:
        path = self._path(name)
        part: obstore.GetOptions = {"range": (start, start + length)}
        with self._errors(name, "read"):
            try:
                return bytes(obstore.get(self._store, path, options=part).bytes())
            except FileNotFoundError as error:
                if _NO_BUCKET in str(error):
                    raise
                raise self._missing(name) from None
            except BaseError as error:
                if _WHOLE not in str(error):
                    raise
        return super().read_range(name, start, length)

    def exists(self, name: str) -> bool:
        with self._errors(name, "read"):
            try:
                obstore.head(self._store, self._path(name))
            except FileNotFoundError:
                return False
            return True

    def list(self) -> dict[str, int]:
        with self._errors("", "listed"):
            return dict(sorted(self._objects()))

    def delete(self, name: str) -> None:
        with self._errors(name, "deleted"):
            self._remove([self._path(name)])

    def delete_all(self) -> None:
        with self._errors("", "deleted"):
            paths = [f"{self.job_id}/{name}" for name, _ in self._objects()]
            for start in range(0, len(paths), _DELETED_AT_ONCE):
                self._remove(paths[start : start + _DELETED_AT_ONCE])

    def _path(self, name: str) -> str:
        return f"{self.job_id}/{self._checked(name)}"

    def _objects(self) -> Iterator[tuple[str, int]]:
        for batch in obstore.list(self._store, prefix=self.job_id):
            for found in batch:
                yield found["path"].removeprefix(f"{self.job_id}/"), found["size"]

    def _remove(self, paths: Sequence[str]) -> None:
        try:
            obstore.delete(self._store, paths)
        except FileNotFoundError as error:  # some stores say so of an object that is not there
            if _NO_BUCKET in str(error):
                raise

    def _pieces(self, name: str, stream: Iterable[bytes]) -> Generator[bytes, None, None]:
        with self._errors(name, "read"):
            yield from stream

    @contextmanager
    def _errors(self, name: str, done: str) -> Iterator[None]:
        """Turn obstore's errors into ArtifactErrors. They are not passed on as its cause: their
        text quotes the server's answer, which may quote the request's signature."""
        try:
            yield
        except _FAILURES as error:
            raise self._failure(name, done, _reason(error)) from None


def _reason(error: Exception) -> str:
    """Return the object store's own word for the error, if it gave one."""
    text = str(error)
    if _INSTANCE_KEYS in text:
        return "no keys for the object store are set (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)"
    if word := _CODE.search(text) or _STATUS.search(text):
        return f"the object store answers {word[1]}"
    return "the object store does not answer"


def _http_allowed() -> bool:
    """Tell whether the endpoint goes without encryption. Raises `ArtifactError` when it must
    not."""
    plain = [
        urlsplit(os.environ[name]).hostname or ""
        for name in _ENDPOINTS
        if os.environ.get(name, "").lower().startswith("http:")
    ]
    if os.environ.get("AWS_ALLOW_HTTP", "").lower() not in {"1", "true"}:
        for host in plain:
            if not _is_loopback(host):
                raise ArtifactError(
                    f"The object store's endpoint on {host} is not encrypted: use https, or set"
                    " AWS_ALLOW_HTTP=true where nobody else is on the network."
                )
    return bool(plain)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
