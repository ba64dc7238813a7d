"""Frames keep every bit, and tell an end from garbage."""

import io
import math

import numpy as np
import pytest

from worker.trainer import protocol
from worker.trainer.protocol import Frame


def test_columns_arrive_bit_for_bit_in_their_shapes() -> None:
    loss = np.array([0.1, np.nan, np.inf, -0.0, 5e-324])
    x = np.arange(10.0).reshape(5, 2)

    got = protocol.read(io.BytesIO(protocol.pack(Frame("rows", {"n": 1}, {"loss": loss, "x": x}))))

    assert got is not None
    assert got.type == "rows"
    assert got.fields == {"n": 1}
    assert list(got.columns) == ["loss", "x"]
    assert got.columns["loss"].tobytes() == loss.tobytes()
    assert got.columns["x"].tolist() == x.tolist()


@pytest.mark.parametrize("count", [0, 3, protocol.LARGE_BYTES])
def test_the_pieces_of_a_frame_are_its_bytes(count: int) -> None:
    table = np.arange(2.0 * count).reshape(count, 2)
    frame = Frame("rows", {"n": 1}, {"loss": np.ones(count), "x": table, "turned": table.T})

    got = list(protocol.pieces(frame))

    assert b"".join(got) == protocol.pack(frame)
    assert (len(got) == 1) == (count < protocol.LARGE_BYTES)
    read = protocol.read(io.BytesIO(protocol.pack(frame)))
    assert read is not None
    assert np.array_equal(read.columns["turned"], table.T)


def test_non_finite_numbers_in_fields_arrive_as_they_are() -> None:
    sent = Frame("ended", {"loss": math.nan, "best": -math.inf})
    got = protocol.read(io.BytesIO(protocol.pack(sent)))
    assert got is not None
    assert math.isnan(got.fields["loss"])
    assert got.fields["best"] == -math.inf


def test_frames_follow_each_other_and_then_end() -> None:
    stream = io.BytesIO(protocol.pack(Frame("a")) + protocol.pack(Frame("b", {"x": [1]})))
    assert protocol.read(stream) == Frame("a")
    assert protocol.read(stream) == Frame("b", {"x": [1]})
    assert protocol.read(stream) is None


@pytest.mark.parametrize("kept", [1, 8, 20, -1])
def test_a_frame_that_was_cut_off_is_an_end(kept: int) -> None:
    whole = protocol.pack(Frame("rows", {}, {"loss": np.ones(3)}))
    assert protocol.read(io.BytesIO(whole[:kept])) is None


def test_bytes_that_are_no_frame_are_refused() -> None:
    with pytest.raises(ValueError, match="header"):
        protocol.read(io.BytesIO(b"\xff" * 64))
