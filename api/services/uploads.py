"""Uploads on their way: received into a file, checked in a process of their own, then stored.

A file that is being received or checked lies in a folder of this machine, locked by the API that
has it: what a killed API leaves there is removed by the next one that starts.
"""

import asyncio
import contextlib
import errno
import fcntl
import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from api.background import ended
from api.http.log import note
from core.artifacts.base import ArtifactStore, JobArtifacts
from core.datasets import DatasetRecord
from core.errors import ArtifactError, NotFoundError, StoreUnavailableError
from core.ids import FILE_PREFIX, new_id
from core.settings import Settings
from core.store.protocols.api import ApiDatasets
from core.store.protocols.types import Idempotency, StorageFullError
from core.uploads.check import STORED_NAME, Check, start_check
from core.uploads.contents import Contents, RefusedFile
from core.uploads.schema import Schema

WRITE_BYTES: Final = 2**20
"""Bytes that are written at once, in a thread: a call for each network packet would cost more."""
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})

StartCheck = Callable[[Path, str, Path, Schema | None], Check]


@dataclass(frozen=True)
class Upload:
    """A file that has been received.

    Attributes:
        path: where it lies until it is let go.
        digests: name of an algorithm -> digest of its bytes; SHA-256 is always there.
        descriptor: holds the lock.
    """

    path: Path
    size_bytes: int
    digests: dict[str, bytes]
    descriptor: int

    @property
    def sha256(self) -> str:
        return self.digests["sha-256"].hex()

    @property
    def folder(self) -> Path:
        """The folder in which its check leaves the stored form."""
        return self.path.with_suffix(".checked")

    def let_go(self) -> None:
        """Remove the file and what its check left; nothing happens the second time."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.path.exists():
            self.path.unlink(missing_ok=True)
            os.close(self.descriptor)


class Uploads:
    """Receives uploads, has them checked, and makes data sets of them.

    Args:
        check: starts the check of a file; tests give their own.
    """

    def __init__(
        self,
        store: ApiDatasets,
        artifacts: ArtifactStore,
        settings: Settings,
        check: StartCheck = start_check,
    ) -> None:
        self._store = store
        self._artifacts = artifacts
        self._settings = settings
        self._check = check
        self._folder = upload_folder(settings)
        self._turns = asyncio.Semaphore(settings.max_checks)
        self._checking: dict[str, asyncio.Task[None]] = {}
        self._renewing: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Remove what a killed API has left here, and begin to renew the leases of checks."""
        sweep(self._folder)
        self._renewing = asyncio.create_task(self._renew(), name="renew-checks")

    async def stop(self) -> None:
        """End the checks that go on: their data sets are refused."""
        await ended(*self._checking.values())
        await ended(self._renewing)

    async def receive(
        self, chunks: AsyncIterator[bytes], size_bytes: int | None, algorithms: frozenset[str]
    ) -> Upload:
        """Write the body of a request to a file. Whatever ends this early leaves no file behind.

        Args:
            size_bytes: of the whole body, where it is known.
            algorithms: of the digests wanted beside SHA-256 (`sha-512`).

        Raises:
            StorageFullError: the disk has no room for it.
        """
        try:
            upload = await asyncio.to_thread(self._open, size_bytes or 0)
            try:
                return await _written(upload, chunks, {"sha-256", *algorithms})
            except BaseException:
                upload.let_go()
                raise
        except OSError as error:
            if error.errno not in _FULL:
                raise ArtifactError(
                    f"cannot take uploads: {os.strerror(error.errno or 0)}"
                ) from error
            raise _no_room() from error

    def _open(self, size_bytes: int) -> Upload:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if shutil.disk_usage(self._folder).free < size_bytes + self._settings.reserve_bytes:
            raise _no_room()
        while True:
            path = self._folder / f"{new_id(FILE_PREFIX)}.upload"
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink:  # else removed by a sweep before the lock was ours
                return Upload(path, 0, {}, descriptor)
            os.close(descriptor)

    async def add(
        self,
        record: DatasetRecord,
        upload: Upload,
        schema: Schema | None,
        idempotency: Idempotency | None,
    ) -> tuple[DatasetRecord, bool]:
        """Check the file and make the data set `record` of it. Returns it: `ready`, or `checking`
        where that takes longer than a request may; and whether the key of the request had made it
        before.

        Raises:
            RefusedFile: the file is none that can be used; nothing is left of it.
            ConflictError: as of `ApiDatasets.add`.
        """
        checked = asyncio.create_task(self._checked(upload, record.media_type, schema))
        try:
            done, _ = await asyncio.wait({checked}, timeout=self._settings.upload_wait_s)
            if done:
                ready = _ready(record, checked.result())
                return await self._stored(
                    upload, lambda file: self._store.add(ready, idempotency, file, 0.0)
                )
            lease_s = self._settings.lease_s
            found, replayed = await self._store.add(record, idempotency, None, lease_s)
        except BaseException:
            await ended(checked)
            upload.let_go()
            raise
        if replayed:
            await ended(checked)
            upload.let_go()
        else:
            ending = self._end(found, upload, checked)
            self._checking[record.id] = asyncio.create_task(ending, name=f"check {record.id}")
        return found, replayed

    async def _checked(self, upload: Upload, media_type: str, schema: Schema | None) -> Contents:
        async with self._turns:
            check = await asyncio.to_thread(
                self._check, upload.path, media_type, upload.folder, schema
            )
            try:
                found = await check.wait_async()
            except asyncio.CancelledError:
                await asyncio.to_thread(check.stop)
                raise
        assert found is not None
        return found

    async def _stored(
        self,
        upload: Upload,
        enter: Callable[[str], Awaitable[tuple[DatasetRecord, bool]]],
    ) -> tuple[DatasetRecord, bool]:
        """Store the checked form under a new name and have `enter` write the record. Where the
        record has another content, which was there before, the new one is removed again; where
        that was lost, it is written anew."""
        file, kept = new_id(FILE_PREFIX), None
        artifacts = self._artifacts.job(file)
        try:
            await self._store.reserve(file)
            await asyncio.to_thread(artifacts.adopt, STORED_NAME, upload.folder / STORED_NAME)
            found, replayed = await enter(file)
            kept = found.file
            if kept is not None and kept != file:
                await asyncio.to_thread(_mend, self._artifacts.job(kept), artifacts)
            return found, replayed
        except StoreUnavailableError:
            kept = file  # the answer alone may be lost: workers look after it
            raise
        finally:
            if kept != file:
                with contextlib.suppress(ArtifactError):
                    await asyncio.to_thread(artifacts.delete_all)
            await asyncio.to_thread(upload.let_go)

    async def _end(
        self, record: DatasetRecord, upload: Upload, checked: asyncio.Task[Contents]
    ) -> None:
        """Write the end of a check that took longer than its request."""
        try:
            contents = await checked
            ready = _ready(record, contents)

            async def enter(file: str) -> tuple[DatasetRecord, bool]:
                return replace(ready, file=await self._store.settle(ready, file)), False

            await self._stored(upload, enter)
        except asyncio.CancelledError:
            await ended(checked)
            stopped = RefusedFile("stopped", "The service stopped while it checked the file.")
            await self._refuse(record, stopped.to_json())
            raise
        except RefusedFile as refusal:
            await self._refuse(record, refusal.to_json())
        except ArtifactError as error:
            await self._refuse(record, {"code": ArtifactError.code, "message": str(error)})
        except Exception as error:
            note(logging.ERROR, "a check failed", id=record.id, error=str(error))
            message = "A fault in the service: upload the file again."
            await self._refuse(record, {"code": "internal_error", "message": message})
        finally:
            upload.let_go()
            self._checking.pop(record.id, None)

    async def _refuse(self, record: DatasetRecord, error: dict[str, Any]) -> None:
        whole = {"row": None, "column": None, "entry": None, **error}
        # Where the store is away, the lease runs out.
        with contextlib.suppress(StoreUnavailableError):
            await self._store.settle(replace(record, status="refused", error=whole), None)

    async def _renew(self) -> None:
        lease_s = self._settings.lease_s
        while True:
            await asyncio.sleep(lease_s / 3)
            with contextlib.suppress(StoreUnavailableError, NotFoundError):
                if self._checking:
                    await self._store.renew_checks(list(self._checking), lease_s)


def _mend(there: JobArtifacts, new: JobArtifacts) -> None:
    """Write a content that was lost from its storage by a new one of the same bytes."""
    if not there.exists(STORED_NAME):
        there.write(STORED_NAME, new.open(STORED_NAME).chunks())


def _ready(record: DatasetRecord, contents: Contents) -> DatasetRecord:
    return replace(record, status="ready", kind=contents.kind, contents=contents.to_json())


async def _written(upload: Upload, chunks: AsyncIterator[bytes], algorithms: set[str]) -> Upload:
    hashes = {name: hashlib.new(name.replace("-", "")) for name in algorithms}
    size, waiting, num_waiting = 0, list[bytes](), 0

    def write() -> None:
        for piece in waiting:
            view = memoryview(piece)
            while view:
                view = view[os.write(upload.descriptor, view) :]
            for each in hashes.values():
                each.update(piece)

    async for chunk in chunks:
        waiting.append(chunk)
        num_waiting += len(chunk)
        size += len(chunk)
        if num_waiting >= WRITE_BYTES:
            await asyncio.to_thread(write)
            waiting, num_waiting = [], 0
    await asyncio.to_thread(write)
    digests = {name: each.digest() for name, each in hashes.items()}
    return replace(upload, size_bytes=size, digests=digests)


def _no_room() -> StorageFullError:
    return StorageFullError(
        "The disk for uploads is nearly full: delete data sets or jobs, or make space, and try"
        " again.",
        30.0,
    )


def upload_folder(settings: Settings) -> Path:
    """Return the folder in which uploads lie until they have been checked."""
    if settings.upload_folder is not None:
        return settings.upload_folder
    if "://" in settings.artifacts:
        return Path(tempfile.gettempdir()) / f"thalweg-uploads-{os.getuid()}"
    return Path(settings.artifacts_location) / ".uploads"


def sweep(folder: Path) -> None:
    """Remove the uploads that no process holds."""
    try:
        entries = list(folder.iterdir())
    except OSError:
        return
    for path in entries:
        if path.suffix != ".upload" or not _is_left(path):
            continue
        shutil.rmtree(path.with_suffix(".checked"), ignore_errors=True)
        path.unlink(missing_ok=True)


def _is_left(path: Path) -> bool:
    """Tell whether nobody has locked the file."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Held while the file goes: whoever waits for the lock sees that it has no name any more.
        path.unlink(missing_ok=True)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
