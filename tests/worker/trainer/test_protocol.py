"""Messages keep every bit on their way, and an end is told from garbage."""

import io
import math
import struct
import types
from collections.abc import Iterator
from dataclasses import fields
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

import numpy as np
import pytest

from core.messages.parts import Columns
from core.messages.reports import (
    Answer,
    Concluded,
    DataLoaded,
    Ending,
    Failed,
    HistoryRows,
    Intervened,
    Measured,
    PhaseBegun,
    PopulationProgress,
    Progress,
    Ready,
    Report,
    Restarted,
    RowsOfRuns,
    RunEnded,
    RunFailed,
    SavedCheckpoint,
    Settled,
    TaskEnding,
)
from core.messages.requests import (
    Cancel,
    HandOver,
    KeepCheckpoint,
    Measure,
    Request,
    TrainJob,
    TrainTask,
    TrySteps,
    UseWeights,
)
from worker.trainer import frames, protocol


def sent(message: Request | Report) -> Request | Report:
    """The message as it arrives."""
    stream = io.BytesIO(protocol.pack(message))
    is_request = isinstance(message, Request)
    got = protocol.read_request(stream) if is_request else protocol.read_report(stream)
    assert got is not None
    return got


def assert_same(got: Request | Report, wanted: Request | Report) -> None:
    """Every field is of the same types and values, columns to the bit."""
    assert type(got) is type(wanted)
    for each in fields(wanted):
        one, other = getattr(got, each.name), getattr(wanted, each.name)
        if each.name == "columns":
            assert list(one) == list(other)
            assert all(one[name].tobytes() == other[name].tobytes() for name in other)
            assert all(one[name].shape == other[name].shape for name in other)
        else:
            assert repr(one) == repr(other), each.name


COLUMNS: Columns = {"step": np.array([3.0, 4.0]), "x": np.arange(4.0).reshape(2, 2)}


def examples(kind: Any) -> Iterator[Any]:
    """Values of a type, one at least of each of its alternatives."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind == Columns:
        yield COLUMNS
    elif kind is Any:
        yield from (None, -math.inf, "é", [1, {"a": None}])
    elif origin is Literal:
        yield from arguments
    elif origin in (Union, types.UnionType):
        for each in arguments:
            yield from examples(each)
    elif origin is dict:
        values = list(examples(arguments[1]))
        keys = {str: ("train", "eval"), int: (0, 11)}.get(arguments[0], get_args(arguments[0]))
        yield {}
        yield {key: values[place % len(values)] for place, key in enumerate(keys)}
    elif origin in (list, tuple):
        yield origin()
        yield origin(examples(arguments[0]))
    elif is_typeddict(kind):
        named = {name: list(examples(each)) for name, each in get_type_hints(kind).items()}
        for turn in range(max(map(len, named.values()))):
            yield {name: values[turn % len(values)] for name, values in named.items()}
    else:
        yield from {
            int: (0, 2**53), float: (0.1, math.inf), str: ("", "loss"), bool: (True, False),
            type(None): (None,),
        }[kind]  # fmt: skip


def every(kind: Any) -> Iterator[Any]:
    """Messages of a kind, which together have each example of each field."""
    named = {name: list(examples(each)) for name, each in get_type_hints(kind).items()}
    for turn in range(max(map(len, named.values()))):
        yield kind(**{name: values[turn % len(values)] for name, values in named.items()})


@pytest.mark.parametrize("kind", [*get_args(Request), *get_args(Report)])
def test_every_message_arrives_as_it_was_sent(kind: Any) -> None:
    for message in every(kind):
        assert_same(sent(message), message)


def test_a_request_is_no_report() -> None:
    with pytest.raises(ValueError, match="'cancel'"):
        protocol.read_report(io.BytesIO(protocol.pack(Cancel(1))))
    with pytest.raises(ValueError, match="'ended'"):
        protocol.read_request(io.BytesIO(protocol.pack(Ending("cancelled", None, {}, None))))


@pytest.mark.parametrize(
    "header",
    [{"type": "progress", "step": 1}, {"type": "cancel"}, {"type": "ended", "paused": {}}],
)
def test_a_message_without_all_its_fields_is_refused(header: dict[str, Any]) -> None:
    read = protocol.read_request if header["type"] == "cancel" else protocol.read_report
    with pytest.raises(ValueError, match=header["type"]):
        read(io.BytesIO(frames.pack(header, {})))


BEST = '{"step":7,"loss":NaN}'
OF_BEFORE: list[tuple[Request | Report, str]] = [
    (
        TrainJob("job_1", {"seed": 1}, "/data", "cpu", True, {"train": 3, "eval": 0}, 5),
        ('{"job_id":"job_1","spec":{"seed":1},"artifacts":"/data","device":"cpu","resume":true,'
        '"stored_rows":{"train":3,"eval":0},"run":5,"type":"run"}'),
    ),
    (
        TrainTask(
            "study_1", "0_1", "/data", "cpu", None, True, {4: {"train": 3}}, {"seed": 1}, 2,
            [{"optimizer.lr": 0.1}], [[4, 0, 7]], {4: "paused/0_1"}, None, 5,
        ),
        ('{"study_id":"study_1","stem":"0_1","artifacts":"/data","device":"cpu","stop_step":null,'
        '"resume":true,"stored_rows":{"4":{"train":3}},"base":{"seed":1},"format":2,'
        '"configurations":[{"optimizer.lr":0.1}],"runs":[[4,0,7]],"sources":{"4":"paused/0_1"},'
        '"target":null,"run":5,"type":"population"}'),
    ),
    (
        Measure("job_1", {"seed": 1}, "/data", "cpu", "final", 1.5, 5),
        ('{"job_id":"job_1","spec":{"seed":1},"artifacts":"/data","device":"cpu",'
        '"checkpoint":"final","train_s":1.5,"run":5,"type":"measure"}'),
    ),
    (
        TrySteps("job_1", [{"seed": 1}], "cpu", 5),
        '{"job_id":"job_1","specs":[{"seed":1}],"device":"cpu","run":5,"type":"try"}',
    ),
    (Cancel(5), '{"run":5,"type":"cancel"}'),
    (HandOver(5), '{"run":5,"type":"hand_over"}'),
    (Ready(["cuda:0", "cpu"]), '{"devices":["cuda:0","cpu"],"type":"ready"}'),
    (
        Ready(["cuda:0", "cpu"], [85_000_000_000, 0]),
        '{"devices":["cuda:0","cpu"],"memory_bytes":[85000000000,0],"type":"ready"}',
    ),
    (
        HistoryRows("train", 3, COLUMNS),
        '{"kind":"train","first_row":3,"type":"rows","columns":[["step",[2]],["x",[2,2]]]}',
    ),
    (
        Progress(8, 812.5, None, {"step": 7, "loss": math.nan}, 2.5),
        '{"step":8,"steps_per_s":812.5,"latest":null,"best":' + BEST + ',"initial_loss":2.5,'
        '"type":"progress"}',
    ),
    (PhaseBegun("tuning"), '{"name":"tuning","type":"phase"}'),
    (Settled({"seed": 1}, {}), '{"spec":{"seed":1},"resolved":{},"type":"settled"}'),
    (
        SavedCheckpoint("resume", 8, "checkpoints/8", {"loss": 0.5}, 99, "ab", ("checkpoints/4",)),
        ('{"name":"resume","step":8,"path":"checkpoints/8","metrics":{"loss":0.5},"size_bytes":99,'
        '"sha256":"ab","dropped":["checkpoints/4"],"type":"checkpoint"}'),
    ),
    (
        Intervened([{"step": 8}], {"train": 4, "eval": 0}, ("checkpoints/8",)),
        ('{"interventions":[{"step":8}],"rewound":{"train":4,"eval":0},'
        '"dropped":["checkpoints/8"],"type":"intervened"}'),
    ),
    (
        RowsOfRuns("eval", [4], [3], [2], COLUMNS),
        ('{"kind":"eval","runs":[4],"first_rows":[3],"lengths":[2],"type":"run_rows",'
        '"columns":[["step",[2]],["x",[2,2]]]}'),
    ),
    (
        RowsOfRuns("eval", [4], [3], [2], COLUMNS, truncate=True),
        ('{"kind":"eval","runs":[4],"first_rows":[3],"lengths":[2],"truncate":true,'
        '"type":"run_rows","columns":[["step",[2]],["x",[2,2]]]}'),
    ),
    (PopulationProgress(9, 2), '{"num_updates":9,"num_running":2,"type":"population_progress"}'),
    (
        RunEnded(4, "finished", "converged", {}, None, True, 0.25, {"step": 2, "seconds": 0.5}),
        ('{"run":4,"reason":"finished","outcome":"converged","result":{},"best":null,"fused":true,'
        '"share_s":0.25,"target":{"step":2,"seconds":0.5},"type":"run_ended"}'),
    ),
    (
        Ending("finished", "diverged", {"num_steps": 8}, {"step": 7, "loss": math.nan}),
        '{"reason":"finished","outcome":"diverged","result":{"num_steps":8},"best":' + BEST
        + ',"type":"ended"}',
    ),
    (
        TaskEnding(
            "finished",
            {"file": "weights/0_1", "rows": {4: 0}, "steps": {4: {"final": 2}}},
            {4: {"step": 2, "initial_loss": 2.5, "loss": 0.5, "eval": None, "best": None,
                 "share_s": 0.5, "target": None, "file": "paused/0_1"}},
        ),
        ('{"reason":"finished","weights":{"file":"weights/0_1","rows":{"4":0},'
        '"steps":{"4":{"final":2}}},"paused":{"4":{"step":2,"initial_loss":2.5,"loss":0.5,"eval":null,'
        '"best":null,"share_s":0.5,"target":null,"file":"paused/0_1"}},"type":"ended"}'),
    ),
    (Measured({"step": 8}), '{"measured":{"step":8},"type":"measured"}'),
    (
        Failed("out_of_memory", "too large", None, False),
        '{"code":"out_of_memory","message":"too large","param":null,"fatal":false,"type":"failed"}',
    ),
]  # fmt: skip
"""Messages, and their headers as they were before messages had types."""


@pytest.mark.parametrize(
    ("message", "header"), OF_BEFORE, ids=lambda each: type(each).__name__.replace("str", "")
)
def test_a_frame_of_before_is_the_message(message: Request | Report, header: str) -> None:
    """Byte for byte, but for the peak memory that an answer says on top now."""
    has_columns = isinstance(message, HistoryRows | RowsOfRuns)
    numbers = b"".join(column.tobytes() for column in COLUMNS.values()) if has_columns else b""
    text = header.encode()
    frame = struct.pack("<II", len(text), len(numbers)) + text + numbers
    is_request = isinstance(message, Request)
    stream = io.BytesIO(frame)
    got = protocol.read_request(stream) if is_request else protocol.read_report(stream)
    assert got is not None
    assert_same(got, message)
    if not isinstance(message, Answer) or isinstance(message, Measured):
        assert protocol.pack(message) == frame


def test_frames_of_before_are_of_every_kind() -> None:
    kinds = {type(message) for message, _ in OF_BEFORE}
    came_later = {Concluded, DataLoaded, KeepCheckpoint, Restarted, RunFailed, UseWeights}
    assert kinds == {*get_args(Request), *get_args(Report)} - came_later


def test_columns_arrive_bit_for_bit_in_their_shapes() -> None:
    loss = np.array([0.1, np.nan, np.inf, -0.0, 5e-324])
    x = np.arange(10.0).reshape(5, 2)

    got = sent(HistoryRows("train", 1, {"loss": loss, "x": x}))

    assert isinstance(got, HistoryRows)
    assert (got.kind, got.first_row) == ("train", 1)
    assert list(got.columns) == ["loss", "x"]
    assert got.columns["loss"].tobytes() == loss.tobytes()
    assert got.columns["x"].tolist() == x.tolist()


@pytest.mark.parametrize("count", [0, 3, frames.LARGE_BYTES])
def test_the_pieces_of_a_frame_are_its_bytes(count: int) -> None:
    table = np.arange(2.0 * count).reshape(count, 2)
    rows = HistoryRows("train", 1, {"loss": np.ones(count), "x": table, "turned": table.T})

    got = list(protocol.pieces(rows))

    assert b"".join(got) == protocol.pack(rows)
    assert (len(got) == 1) == (count < frames.LARGE_BYTES)
    read = sent(rows)
    assert isinstance(read, HistoryRows)
    assert np.array_equal(read.columns["turned"], table.T)


def test_non_finite_numbers_in_fields_arrive_as_they_are() -> None:
    got = sent(Ending("finished", "diverged", {"final_loss": math.nan, "value": -math.inf}, None))
    assert isinstance(got, Ending)
    assert math.isnan(got.result["final_loss"])
    assert got.result["value"] == -math.inf


def test_frames_follow_each_other_and_then_end() -> None:
    stream = io.BytesIO(protocol.pack(Cancel(1)) + protocol.pack(HandOver(2)))
    assert protocol.read_request(stream) == Cancel(1)
    assert protocol.read_request(stream) == HandOver(2)
    assert protocol.read_request(stream) is None


@pytest.mark.parametrize("kept", [1, 8, 20, -1])
def test_a_frame_that_was_cut_off_is_an_end(kept: int) -> None:
    whole = protocol.pack(HistoryRows("train", 0, {"loss": np.ones(3)}))
    assert protocol.read_report(io.BytesIO(whole[:kept])) is None


def test_bytes_that_are_no_frame_are_refused() -> None:
    with pytest.raises(ValueError, match="header"):
        protocol.read_report(io.BytesIO(b"\xff" * 64))
