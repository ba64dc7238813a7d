"""Checks of files without a parser, and what the tests of data sets ask again and again."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from core.settings import Settings
from core.store.redis import RedisStore
from core.uploads.check import STORED_NAME, Check
from core.uploads.contents import Column, Contents, RefusedFile
from core.uploads.schema import Schema
from tests.api.actors import Api, CountingDispatcher, Json, Worker, make_app

CSV = b"size,price\n1,2\n3,4\n5,6\n7,8\n"
CONTENTS = Contents("table", 4, (Column("size", "number"), Column("price", "number")), 64)
REFUSAL = RefusedFile("unequal_rows", "row 3 has 1 cell, the header 2", row=3, column="price")
TABLE = {"Content-Type": "text/csv"}


class PretendedCheck(Check):
    """A check that ends when the test says so, as the test says."""

    def __init__(self, checks: "Checks", folder: Path) -> None:
        self._checks = checks
        self._folder = folder
        self._stopped = False

    async def wait_async(self, timeout_s: float | None = None) -> Contents | None:
        await asyncio.to_thread(self._checks.may_end.wait, 20)
        if self._stopped:
            raise RefusedFile("stopped", "stopped")
        if self._checks.refusal is not None:
            raise self._checks.refusal
        self._folder.mkdir()
        (self._folder / STORED_NAME).write_bytes(b"stored")
        return self._checks.contents

    def stop(self) -> None:
        self._stopped = True
        self._checks.may_end.set()


@dataclass
class Checks:
    """Starts pretended checks. `refusal`: what each ends with; None: with `contents`."""

    may_end: threading.Event = field(default_factory=threading.Event)
    refusal: RefusedFile | None = None
    contents: Contents = CONTENTS
    started: int = 0

    def __call__(self, path: Path, media_type: str, folder: Path, schema: Schema | None) -> Check:
        self.started += 1
        return PretendedCheck(self, folder)


@dataclass
class DataApi(Api):
    """A running application whose checks are pretended."""

    checks: Checks

    def upload(self, content: Any = CSV, /, *, status: int = 201, **query: Any) -> Json:
        reply = self.http.post("/v1/datasets", content=content, headers=TABLE, params=query)
        assert reply.status_code == status, reply.text
        found: Json = reply.json()
        return found

    @property
    def left_in_the_folder(self) -> list[str]:
        """Files of uploads on their way."""
        folder = Path(self.settings.artifacts_location) / ".uploads"
        return sorted(path.name for path in folder.glob("*"))

    @property
    def stored(self) -> list[str]:
        """Names of the stored contents."""
        root = Path(self.settings.artifacts_location)
        return sorted(path.name for path in root.glob("file_*"))


@contextmanager
def running(settings: Settings, *, wait_s: float = 60.0) -> Iterator[DataApi]:
    """An application whose checks end at once, unless `checks.may_end` is cleared."""
    settings = settings.model_copy(update={"upload_wait_s": wait_s})
    store = RedisStore(settings.redis_url, settings.namespace)
    worker = Worker(store, Path(settings.artifacts_location))
    dispatcher, checks = CountingDispatcher(), Checks()
    checks.may_end.set()
    app = make_app(settings, dispatcher, check=checks)
    with TestClient(app, "http://localhost", raise_server_exceptions=False) as http:
        yield DataApi(http, worker, dispatcher, settings, checks)
    store.disconnect()


def on(data: Json, **changes: Any) -> Json:
    """A job on an uploaded data set."""
    problem = {
        "kind": "supervised",
        "data": {"kind": "dataset", "id": data["id"], "target": "price", "eval_fraction": 0},
        "model": {"kind": "linear"},
    }
    return {"problem": problem, "optimizer": {"kind": "sgd"}, **changes}
