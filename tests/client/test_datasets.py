"""Data sets by the client and the command: what is uploaded, refused, sent again."""

import asyncio
import base64
import hashlib
import io
import json
import os
import re
import subprocess
import threading
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save

import thalweg
from core.uploads.contents import MEDIA_TYPES as TAKEN
from tests.client.flaky import FlakyProxy
from tests.client.shell import THALWEG, Shell
from tests.client.test_failures import Scripted
from thalweg import AsyncClient, Client
from thalweg.records import DatasetRecord
from thalweg.sources import CHUNK_BYTES, MEDIA_TYPES, source_of

CSV: Final = b"size,district,price\n" + b"".join(
    b"%d.5,%s,%d\n" % (i, (b"north", b"south")[i % 2], 3 * i) for i in range(40)
)
REFUSED: Final = b"size,price\n" + b"1,2\n" * 30 + b"1,two\n"
"""A file whose row 32 has a text among numbers."""


def npz() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, x=np.arange(6.0).reshape(3, 2))
    return buffer.getvalue()


def parquet() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"size": [1.5, 2.5], "price": [1, 2]}), buffer)
    return buffer.getvalue()


CONTENTS: Final = {
    "text/csv": CSV,
    "application/vnd.apache.parquet": parquet(),
    "application/x-ndjson": b'{"a": 1}\n{"a": 2}\n',
    "application/x-npz": npz(),
    "text/plain": b"a line\nanother\n",
    "application/x-safetensors": save({"w": np.ones(2, np.float32)}),
}


@pytest.fixture
def shell(address: str, tmp_path: Path) -> Shell:
    (tmp_path / "houses.csv").write_bytes(CSV)
    (tmp_path / "bad.csv").write_bytes(REFUSED)
    return Shell(address, tmp_path)


def test_every_type_of_the_service_has_an_ending() -> None:
    assert set(MEDIA_TYPES.values()) == set(TAKEN)


@pytest.mark.parametrize("ending", sorted(set(MEDIA_TYPES) - {".zip"}))
def test_a_file_is_read_as_its_ending_says(ending: str, client: Client, tmp_path: Path) -> None:
    content = CONTENTS[MEDIA_TYPES[ending]]
    path = tmp_path / f"my data{ending.upper()}"
    path.write_bytes(content)
    data = client.datasets.upload(path, labels={"test": "endings"})
    assert (data.status, data.name, data.labels) == ("ready", "my data", {"test": "endings"})
    assert data.data["sha256"] == hashlib.sha256(content).hexdigest()
    assert client.datasets.get(data.id).columns == data.columns
    data.delete()


def test_a_data_set_is_uploaded_read_changed_used_and_deleted(client: Client) -> None:
    before = [each.id for each in client.datasets.list()]
    data = client.datasets.upload(
        CSV, media_type="text/csv", name="houses", schema={"price": "number"},
        labels={"team": "a:b"},
    )  # fmt: skip
    assert (data.num_rows, data.kind, data.labels) == (40, "table", {"team": "a:b"})
    assert [column["dtype"] for column in data.columns] == ["number", "category", "number"]
    assert data.preview(2) == client.datasets.preview(data.id, rows=2) == [
        {"size": 0.5, "district": "north", "price": 0.0},
        {"size": 1.5, "district": "south", "price": 3.0},
    ]  # fmt: skip
    assert [each.id for each in client.datasets.list(status="ready")] == [data.id, *before]
    assert [each.id for each in client.datasets.list(label="team:a:b", limit=1)] == [data.id]
    assert data.update(name="flats", labels={"team": None}).labels == {}
    assert client.datasets.update(data.id, labels={"x": "y"}).name == "flats"
    assert data.refresh().labels == {"x": "y"}
    problem: Any = {
        "kind": "supervised", "model": {"kind": "linear"},
        "data": {"kind": "dataset", "id": data.id, "target": "price"},
    }  # fmt: skip
    job = client.jobs.create(
        {"problem": problem, "optimizer": {"kind": "sgd"}, "budget": {"max_steps": 3}}
    )
    assert job.wait(60).status == "succeeded"
    client.datasets.delete(data.id)
    with pytest.raises(thalweg.NotFoundError):
        data.refresh()


def test_a_refused_file_is_an_exception_with_its_place(client: Client) -> None:
    with pytest.raises(thalweg.RefusedFileError) as caught:
        client.datasets.upload(REFUSED, media_type="text/csv")
    error = caught.value
    assert (error.code, error.row, error.column) == ("mixed_column", 32, "price")
    assert "two" in str(error)
    assert isinstance(error, thalweg.InvalidRequestError)
    with pytest.raises(thalweg.InvalidRequestError) as wrong:
        client.datasets.upload(CSV, media_type="text/csv", schema={"zip": "colour"})
    assert not isinstance(wrong.value, thalweg.RefusedFileError)


def checking(**more: Any) -> bytes:
    data: dict[str, Any] = {
        "id": "data_1", "name": "<b>", "kind": "table", "status": "checking", "labels": {},
        "num_rows": None, "columns": [], "error": None,
    }  # fmt: skip
    return json.dumps(data | more).encode()


def test_a_check_that_takes_longer_is_waited_for() -> None:
    place = {"code": "mixed_column", "message": "Row 7 …", "row": 7, "column": "a", "entry": None}
    ready, refused = checking(status="ready"), checking(status="refused", error=place)
    with Scripted((202, {}, checking()), (200, {}, checking()), (200, {}, ready)) as server:
        with Client(server.url) as client:
            assert client.datasets.upload(b"a\n1\n", media_type="text/csv").status == "ready"
        assert server.asked == {"POST": 1, "GET": 2}
    scripted = Scripted((202, {}, checking()), (200, {}, refused))
    with scripted as server, Client(server.url) as client:
        data = client.datasets.upload(b"a\n1\n", media_type="text/csv", wait=False)
        assert data.status == "checking"
        with pytest.raises(thalweg.RefusedFileError, match="Row 7") as caught:
            data.wait()
    assert (caught.value.code, caught.value.row, caught.value.column) == ("mixed_column", 7, "a")
    with (
        Scripted((202, {}, checking())) as server,
        Client(server.url) as client,
        pytest.raises(thalweg.WaitTimeoutError),
    ):
        client.datasets.upload(b"a\n1\n", media_type="text/csv", timeout_s=0.0)


def test_an_upload_that_lost_its_connection_becomes_one_data_set(
    flaky: FlakyProxy, client: Client, tmp_path: Path
) -> None:
    path = tmp_path / "big.csv"
    path.write_bytes(CSV)
    with Client(flaky.url, retry_for_s=60) as mine:
        sources: list[Any] = [path, CSV, path.open("rb"), io.BytesIO(CSV)]
        for source in sources:
            data = mine.datasets.upload(source, media_type="text/csv", labels={"test": "lost"})
            assert data.num_rows == 40
        sources[2].close()
    posts = [key for method, path_, key in flaky.calls if path_ == "/v1/datasets"]
    assert len(posts) > len(set(posts)) == 4
    found = list(client.datasets.list(label="test:lost"))
    assert len(found) == 4
    for each in found:
        each.delete()


def test_a_pipe_is_sent_once_and_never_a_part_of_it_again(flaky: FlakyProxy) -> None:
    def upload(mine: Client) -> str:
        ours, theirs = os.pipe()

        def write() -> None:
            os.write(theirs, CSV)
            os.close(theirs)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            with os.fdopen(ours, "rb") as pipe:
                data = mine.datasets.upload(pipe, media_type="text/csv")
            assert data.num_rows == 40
            return "done"
        except (thalweg.UnreachableError, thalweg.BusyError) as error:
            return type(error).__name__
        finally:
            writer.join()

    with Client(flaky.url, retry_for_s=60) as mine:
        ends = [upload(mine) for _ in range(5)]
    assert ends == ["done", "BusyError", "done", "done", "UnreachableError"]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("houses.xlsx", "houses.xlsx: no file that can be uploaded ends in .xlsx: give a file"),
        (b"a,b\n", "What these bytes are is not known: give a file that ends in .csv, "),
        (io.StringIO("a,b"), "open it with 'rb'"),
        ("houses", "houses has no ending"),
        ({"a": [1]}, "dict cannot be uploaded"),
        (None, "NoneType cannot be uploaded"),
    ],
    ids=["odd-ending", "bytes", "text", "no-ending", "dict", "none"],
)
def test_what_is_none_to_be_uploaded_is_told_and_not_sent(
    source: Any, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("houses.xlsx", "houses"):
        Path(name).touch()
    with Client("http://127.0.0.1:9") as client:
        with pytest.raises(thalweg.UnsendableError, match=re.escape(said)):
            client.datasets.upload(source)
        with pytest.raises(FileNotFoundError):
            client.datasets.upload("none.csv")
        with pytest.raises(thalweg.UnsendableError, match="has a colon"):
            client.datasets.upload(CSV, media_type="text/csv", labels={"a:b": "c"})
        with pytest.raises(thalweg.UnsendableError, match="nan"):
            client.datasets.upload(CSV, media_type="text/csv", schema={"a": float("nan")})


def test_a_file_that_changes_while_it_is_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(bytes(3 * CHUNK_BYTES))
    for size in (2 * CHUNK_BYTES, 4 * CHUNK_BYTES):
        source = source_of(path, None)
        chunks = source.chunks()
        next(chunks)
        os.truncate(path, size)
        with pytest.raises(thalweg.UnsendableError, match="changed its size"):
            list(chunks)
        os.truncate(path, 3 * CHUNK_BYTES)


class Frame:
    """A frame as pandas has it: `tests/clients/exported.py` tries those of pandas and Polars."""

    def to_parquet(self, target: io.BytesIO, *, index: bool, engine: str) -> None:
        assert (index, engine) == (False, "pyarrow")
        target.write(parquet())


def test_a_frame_goes_as_parquet_with_its_checksum() -> None:
    frame: Any = Frame()
    with Scripted((201, {}, checking(status="ready"))) as server, Client(server.url) as client:
        client.datasets.upload(frame)
        (headers,) = server.headers
    digest = base64.b64encode(hashlib.sha256(parquet()).digest()).decode()
    assert headers["Content-Digest"] == f"sha-256=:{digest}:"
    assert headers["Content-Type"] == "application/vnd.apache.parquet"
    assert headers["Content-Length"] == str(len(parquet()))


def test_both_clients_do_the_same(address: str, tmp_path: Path) -> None:
    path = tmp_path / "houses.csv"
    path.write_bytes(CSV)

    async def main() -> None:
        async with AsyncClient(address) as client:
            data = await client.datasets.upload(path, progress=True)
            assert await (await client.datasets.get(data.id)).preview(1) == await data.preview(1)
            assert data.id in [each.id async for each in client.datasets.list()]
            with pytest.raises(thalweg.RefusedFileError):
                await client.datasets.upload(REFUSED, media_type="text/csv")
            await client.datasets.update(data.id, name="x")
            await client.datasets.delete(data.id)

    asyncio.run(main())


def test_a_notebook_shows_what_a_data_set_is() -> None:
    columns = [{"name": f"<{i}>", "dtype": "category", "shape": [], "num_missing": 1,
                "categories": list("abcdefghij")} for i in range(60)]  # fmt: skip
    data = DatasetRecord(json.loads(checking(columns=columns, num_rows=1234)))
    shown = data._repr_html_()
    assert "<b>&lt;b&gt;</b>" in shown
    assert "1,234 rows" in shown
    assert "g, h, …" in shown
    assert "10 columns more" in shown
    assert "<0>" not in shown
    assert repr(data) == "<DatasetRecord data_1: checking, <b>, table, 1,234 rows>"


def test_the_command_tells_what_is_doubtful(shell: Shell) -> None:
    lines = ["price,size,y"] + [f"${i},{i}.5,{i}" for i in range(40)]
    (shell.folder / "money.csv").write_text("\n".join(lines) + "\n")
    done = shell.run("data", "upload", "money.csv")
    data = done.stdout.strip()
    assert done.stderr.startswith('warning: Column "price" has "$0": its texts seem to be amounts')
    (warned,) = shell.json("data", "show", data)["warnings"]
    assert done.stderr == f"warning: {warned['message']}\n"
    spec = {
        "problem": {
            "kind": "supervised",
            "data": {"kind": "dataset", "id": data, "target": "y"},
            "model": {"kind": "linear"},
        },
        "optimizer": {"kind": "sgd", "lr": 0.01},
        "budget": {"max_steps": 3},
    }
    study = {"base": spec, "sweep": {"optimizer.lr": {"values": [0.01, 0.02]}}}
    for name, posted in (("job", spec), ("study", study)):
        (shell.folder / f"{name}.json").write_text(json.dumps(posted))
        for command in ("validate", "submit"):
            done = shell.run(command, f"{name}.json")
            assert "warning: " in done.stderr
            assert '"price" has "$0"' in done.stderr
            assert shell.run(command, f"{name}.json", "--json").stderr == ""


def test_the_command_uploads_lists_shows_and_deletes(shell: Shell) -> None:
    done = shell.run(
        "data", "upload", "houses.csv", "--label", "team:cli", "--schema", "{price: number}"
    )
    (data,) = done.stdout.splitlines()
    assert done.stderr == ""  # no bar in a pipe
    (line,) = shell.run("data", "list", "-l", "team:cli").stdout.splitlines()
    assert line == f"{data}\tready\ttable\t40\t{len(CSV)}\thouses"
    shown = shell.run("data", "show", "last").stdout.splitlines()
    assert f"id\t{data}" in shown
    assert "district\tcategory\t–\t0\tnorth, south" in shown
    assert shell.run("data", "preview", data, "-n", "1").stdout == "0.5\tnorth\t0\n"
    assert shell.json("data", "preview", data, "-n", "1")[0]["district"] == "north"
    shell.run("data", "delete", data, status=2)
    assert shell.json("data", "delete", data, "--yes") == {"deleted": data}
    assert "not_found" in shell.run("data", "show", data, status=1).stderr


def test_the_command_reads_a_pipe_and_shows_a_bar_on_a_terminal(shell: Shell) -> None:
    done = subprocess.run(
        [THALWEG, "data", "upload", "-", "--type", "text/csv", "--name", "piped", "--json"],
        env=shell.environment, input=CSV, capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    made = json.loads(done.stdout)
    assert (made["name"], made["num_rows"], done.stderr) == ("piped", 40, b"")
    shown = shell.on_a_terminal("data", "upload", "houses.csv")
    assert "0.0 MB of 0.0 MB" in shown
    assert "ready, houses, table, 40 rows" in shown


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["upload", "bad.csv"], 1, 'mixed_column: Row 32, column "price": "two"'),
        (["upload", "none.csv"], 1, "none.csv"),
        (["upload", "."], 1, "Is a directory"),
        (["upload", "job.xlsx"], 1, "ends in .xlsx"),
        (["upload", "houses.csv", "--label", "team"], 2, "write KEY:VALUE"),
        (["upload", "houses.csv", "--schema", "zip"], 1, "it is no file"),
        (["upload", "houses.csv", "--schema", "{size: colour}"], 1, "colour"),
        (["uplod", "houses.csv"], 2, "Did you mean 'upload'?"),
        (["upload", "houses.csv", "--nmae", "x"], 2, "--name"),
        (["preview", "last", "-n", "0"], 2, "--rows"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_the_command_tells_mistakes_in_a_line(
    words: list[str], status: int, said: str, shell: Shell
) -> None:
    (shell.folder / "job.xlsx").touch()
    done = shell.run("data", *words, status=status)
    assert said in done.stderr
    assert done.stdout == ""
