# Written by scripts/client_code.py from _async/datasets.py. Do not edit by hand.
"""Data sets: files that jobs and studies name as their data."""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from time import sleep
from typing import Any, Self

from thalweg._sync import calls
from thalweg._sync.transport import Transport, encoded, listed, place
from thalweg.errors import RefusedFileError, UnsendableError
from thalweg.progress import Progress, Upload
from thalweg.records import DatasetRecord
from thalweg.sources import Source, Uploadable, digest_header, source_of

CHECK_S = 60.0
"""Seconds for which the reply to an upload may be awaited, beyond the time of other calls."""


class Dataset(DatasetRecord):
    r"""A data set. Its properties are as it was when it was last read; its calls ask the service.

    Example:
        >>> rows = b"size,price\n" + b"".join(b"%d,%d\n" % (i, 2 * i) for i in range(50))
        >>> data = client.datasets.upload(rows, name="lots", media_type="text/csv")
        >>> data.status, data.num_rows, [column["dtype"] for column in data.columns]
        ('ready', 50, ['integer', 'integer'])
        >>> (data.preview(rows=1))[0]
        {'size': 0, 'price': 0}
        >>> data.delete()
    """

    def __init__(self, transport: Transport, data: dict[str, Any]) -> None:
        super().__init__(data)
        self._transport = transport
        self._path = place("datasets", self.id)

    def refresh(self) -> Self:
        """Read the data set anew."""
        self.data = self._transport.json("GET", self._path)
        return self

    def wait(self, timeout_s: float | None = None, *, progress: bool = False) -> Self:
        """Wait until the data set has been checked, and return it.

        Raises `RefusedFileError` where it was refused, `WaitTimeoutError` when it has not been
        checked in time; the check goes on.
        """
        calls.wait_for(self._transport, self._path, self, timeout_s, progress)
        if self.error is not None:
            raise RefusedFileError(self.error)
        return self

    def preview(self, rows: int = 20) -> list[dict[str, Any]]:
        """Read the first rows, at most 1,000: values by column, None where one is missing."""
        reply = self._transport.json("GET", f"{self._path}/preview", params={"rows": rows})
        found: list[dict[str, Any]] = reply["rows"]
        return found

    def update(self, **changes: Any) -> Self:
        """Change what is known of it: `name`, `labels` (a value of None removes one) and
        `keep_until` (until then nothing deletes it).

        None removes a value; what is not named stays.
        """
        self.data = self._transport.json("PATCH", self._path, body=changes)
        return self

    def delete(self) -> None:
        """Remove it. Raises `ConflictError` while a job or study that has not ended uses it."""
        self._transport.send("DELETE", self._path)


class Datasets:
    """The data sets of a service: `client.datasets`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def upload(
        self,
        data: Uploadable,
        *,
        name: str | None = None,
        schema: Mapping[str, Any] | str | None = None,
        labels: Mapping[str, str] | None = None,
        media_type: str | None = None,
        wait: bool = True,
        timeout_s: float | None = None,
        progress: bool = False,
        idempotency_key: str | None = None,
    ) -> Dataset:
        r"""Upload a file, and return the data set once it is ready.

        A file is read bit by bit. What can be read again (anything but a pipe) goes with its
        checksum, and is sent again when its connection is lost; it becomes one data set.

        Args:
            data: a path, bytes, a file open for reading in binary, or a frame of pandas or Polars
                (sent as Parquet; an index is left out).
            name: a name to know it by; left out, the file's, without its ending.
            schema: what overrides the kinds of columns that would be inferred
                (`{"zip": "category"}`), or the text of it in JSON.
            labels: labels, each with its value.
            media_type: what it holds; left out, the file's ending tells.
            wait: whether to wait until it has been checked.
            timeout_s: seconds to wait for the check once it has been sent; left out, to its end.
            progress: whether to show a bar.
            idempotency_key: the key under which it is one data set, however often it is sent; left
                out, a new one.

        Raises `RefusedFileError` with code, row and column for a file that breaks a rule,
        `InvalidRequestError` for a mistake in the other arguments, `UnsendableError` for what is
        none to be uploaded, `WaitTimeoutError` when time is up; the check goes on.

        Example:
            >>> from thalweg import RefusedFileError
            >>> try:
            ...     client.datasets.upload(b"a,b\n1,2\n3\n", media_type="text/csv")
            ... except RefusedFileError as error:
            ...     error.code, error.row
            ('unequal_rows', 3)
        """
        source = source_of(data, media_type)
        query = {
            "name": source.name if name is None else name,
            "schema": schema_of(schema),
            "label": labels_of(labels),
        }
        headers = {"Content-Type": source.media_type}
        if source.size is not None:
            headers["Content-Length"] = str(source.size)
        if source.repeatable:
            headers |= calls.keyed(idempotency_key)
            headers["Content-Digest"] = digest_header(digest_of(source))
        reply = self._send(source, query, headers, progress)
        made = Dataset(self._transport, reply)
        return made.wait(timeout_s, progress=progress) if wait else made

    def _send(
        self, source: Source, query: dict[str, Any], headers: dict[str, str], progress: bool
    ) -> dict[str, Any]:
        upload = Upload(source.name or source.media_type, source.size)
        with Progress(upload, shown=progress) as bar:

            def content() -> Iterator[bytes]:
                upload.sent = 0
                for chunk in source.chunks():
                    yield chunk
                    upload.sent += len(chunk)
                    bar.update(upload)

            found: dict[str, Any] = self._transport.json(
                "POST",
                "/v1/datasets",
                params=query,
                content=content,
                headers=headers,
                repeatable=source.repeatable,
                once=not source.repeatable,
                wait_s=CHECK_S,
            )
        return found

    def get(self, id: str) -> Dataset:  # noqa: A002
        """Read a data set. Raises `NotFoundError`."""
        path = place("datasets", id)
        return Dataset(self._transport, self._transport.json("GET", path))

    def list(
        self,
        *,
        status: str | Sequence[str] | None = None,
        label: str | Sequence[str] | None = None,
        created_after: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Dataset]:
        """Go through the data sets, the newest first; the arguments are those of the list of jobs.

        `status`: `checking`, `ready` or `refused`.
        """
        query = {"status": listed(status), "label": listed(label), "created_after": created_after}
        make = self._made
        for data in self._transport.pages("/v1/datasets", make, query, limit):
            yield data

    def preview(self, id: str, rows: int = 20) -> "Rows":  # noqa: A002
        """Read the first rows of a data set; as of a `Dataset`."""
        return self._made({"id": id}).preview(rows)

    def update(self, id: str, **changes: Any) -> Dataset:  # noqa: A002
        """Change what is known of a data set; as of a `Dataset`."""
        return self._made({"id": id}).update(**changes)

    def delete(self, id: str) -> None:  # noqa: A002
        """Remove a data set; as of a `Dataset`."""
        self._made({"id": id}).delete()

    def _made(self, data: dict[str, Any]) -> Dataset:
        return Dataset(self._transport, data)


Rows = list[dict[str, Any]]
"""Rows of a preview."""


def digest_of(source: Source) -> bytes:
    """Return the SHA-256 of what is to be uploaded; others have their turn meanwhile."""
    found = sha256()
    for chunk in source.chunks():
        found.update(chunk)
        sleep(0)
    return found.digest()


def schema_of(schema: Mapping[str, Any] | str | None) -> str | None:
    """Return a schema as the query has it. Raises `UnsendableError`."""
    return schema if schema is None or isinstance(schema, str) else encoded(schema).decode()


def labels_of(labels: Mapping[str, str] | None) -> list[str]:
    """Return labels as the query has them. Raises `UnsendableError` for a key with a colon."""
    for key in labels or {}:
        if ":" in key:
            raise UnsendableError(f"labels: the key {key!r} has a colon, which ends a key")
    return [f"{key}:{value}" for key, value in (labels or {}).items()]
