"""What things show of themselves in a notebook, and what is written for other programs."""

import math
import re
import struct
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thalweg import Client, History, ThalwegError
from thalweg.export import export_study, tables, tensorboard
from thalweg.notebook import curve, job_html, table
from thalweg.records import JobRecord

NASTY = '<script>alert("x")</script>&'
JOB: dict[str, Any] = {
    "id": "job_1", "name": NASTY, "status": "failed", "outcome": None,
    "progress": {"step": 3, "max_steps": 9, "fraction": 0.3, "waiting_for": None, "steps_per_s": 2},
    "latest": {"step": 2, "loss": "NaN"}, "best": None, "result": None, "labels": {},
    "error": {"code": "internal_error", "message": NASTY, "param": None},
    "diagnosis": {"verdict": "diverging", "remedies": [
        {"index": 0, "patch": {"optimizer": {"lr": NASTY}}, "reason": NASTY, "expected": {}}]},
}  # fmt: skip


def test_a_job_shows_itself_without_a_script_and_nothing_from_elsewhere(client: Client) -> None:
    spec: Any = {
        "problem": {"kind": "function", "function": {"kind": "rosenbrock"}},
        "optimizer": {"kind": "adam", "lr": 0.05},
        "budget": {"max_steps": 300},
    }
    job = client.jobs.create(spec).wait(60)
    study: Any = {"base": spec, "sweep": {"optimizer.lr": {"values": [0.01, 0.1]}}}
    shown = [
        job._repr_html_(), job.history()._repr_html_(), job.diagnosis()._repr_html_(),
        client.studies.create(study).wait(60)._repr_html_(), job_html(JobRecord(JOB)),
    ]  # fmt: skip
    for html in shown:
        root = ET.fromstring(html)  # well-formed, as the browser reads it too
        tags = {each.tag.rpartition("}")[2] for each in root.iter()}
        assert tags <= {"div", "b", "span", "table", "tr", "td", "th", "svg", "polyline", "text"}
        assert not re.search(r"\bon\w+=|javascript:|url\(", html)
        assert set(re.findall(r"https?://[^\"]+", html)) <= {"http://www.w3.org/2000/svg"}
    assert "<polyline" in shown[0]
    assert f"{job.verdict}</span>" in shown[0]
    assert "&lt;script&gt;" in shown[-1]


def test_a_curve_leaves_gaps_and_keeps_spikes() -> None:
    values = [1.0] * 10_000
    values[5_000], values[7_000] = 9.0, math.nan
    drawn = curve(list(range(10_000)), {"loss": values})
    assert drawn.count("<polyline") == 2
    tops = [float(y) for y in re.findall(r",(\d+\.\d)", drawn)]
    assert min(tops) == 10.0
    assert "no finite" in curve([0, 1], {"loss": [math.nan, math.inf]})
    assert curve([0], {"loss": [3.0]}).count("<polyline") == 1
    assert "&lt;b&gt;" in table(("a",), [["<b>"]])


def records(content: bytes) -> list[bytes]:
    """The contents of an event file's records, whose sums are checked."""
    found = []
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        assert struct.unpack("<I", content[8:12])[0] == tensorboard.checksum(content[:8])
        body, rest = content[12 : 12 + length], content[12 + length :]
        assert struct.unpack("<I", rest[:4])[0] == tensorboard.checksum(body)
        found.append(body)
        content = rest[4:]
    return found


def test_an_event_file_has_the_sums_and_fields_of_the_format(tmp_path: Path) -> None:
    # CRC-32C of "123456789" is 0xE3069283 (RFC 3720); the mask is TFRecord's.
    plain = 0xE3069283
    masked = ((plain >> 15 | plain << 17) + 0xA282EAD8) & 0xFFFFFFFF
    assert tensorboard.checksum(b"123456789") == masked
    assert tensorboard.varint(300) == b"\xac\x02"
    rows = {"step": np.array([0, 300]), "loss": np.array([1.5, 1e300]), "x": np.ones((2, 2))}
    path = tensorboard.write({"train": History("job_1", "train", rows)}, tmp_path / "new", at=1e9)
    first, *events = records(path.read_bytes())
    assert b"brain.Event:2" in first
    assert len(events) == 2
    assert struct.pack("<d", 1e9) in events[0]
    assert b"\n\ntrain/loss\x15" + struct.pack("<f", 1.5) in events[0]
    assert b"\x10\xac\x02" in events[1]
    assert b"\x15" + struct.pack("<f", math.inf) in events[1]
    assert b"train/x[1]" in events[1]
    # `tests/clients/exported.py` has TensorBoard itself read such files.


def test_tables_read_back_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {"step": np.arange(3), "loss": np.array([0.1 + 0.2, math.nan, -math.inf])}
    history = History("job_1", "train", rows)
    history.to_csv(tmp_path / "rows.csv")
    assert (tmp_path / "rows.csv").read_bytes() == (
        b"step,loss\r\n0,0.30000000000000004\r\n1,NaN\r\n2,-Infinity\r\n"
    )
    for name in ("pandas", "polars", "pyarrow"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    for call, extra in (
        (history.to_pandas, "pandas"),
        (history.to_polars, "polars"),
        (lambda: tables.write_parquet(history.columns(), tmp_path / "x"), "parquet"),
    ):
        with pytest.raises(ThalwegError, match=rf"pip install 'thalweg\[{extra}\]'"):
            call()
    with pytest.raises(KeyError, match="the history has step, loss"):
        history["los"]


def test_a_study_is_exported_run_by_run(client: Client, tmp_path: Path) -> None:
    problem = {"kind": "function", "function": {"kind": "sphere"}}
    spec: Any = {
        "base": {"problem": problem, "optimizer": {"kind": "sgd"}, "budget": {"max_steps": 5}},
        "sweep": {"optimizer.lr": {"values": [0.01, 0.1]}},
    }
    study = client.studies.create(spec).wait(60)
    paths = export_study(study, tmp_path, "csv")
    assert [path.name for path in paths] == ["run-0-train.csv", "run-1-train.csv"]
    assert all(len(path.read_text().splitlines()) == 6 for path in paths)
