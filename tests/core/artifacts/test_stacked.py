"""A run's weights out of a stacked file, against the library that everyone reads them with."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load, save

from core.artifacts.base import OpenArtifact
from core.artifacts.local import LocalJob
from core.artifacts.stacked import open_row
from core.errors import ArtifactError, NotFoundError
from core.ids import STUDY_PREFIX, new_id

NAME = "weights/0_1.safetensors"
SHARED = {"class_names": '["a", "b"]', "spec": "of another run"}
Tensors = dict[str, NDArray[Any]]


class Counting(LocalJob):
    """A study's artifacts that count the bytes which are read."""

    num_read = 0

    def open(self, name: str) -> OpenArtifact:
        raise AssertionError("the whole file is opened")

    def read_range(self, name: str, start: int, length: int) -> bytes:
        found = super().read_range(name, start, length)
        self.num_read += len(found)
        return found


@pytest.fixture
def artifacts(tmp_path: Path) -> Counting:
    return Counting(tmp_path, new_id(STUDY_PREFIX))


def tensors(runs: int, seed: int = 0) -> Tensors:
    rng = np.random.default_rng(seed)
    found: Tensors = {}
    for which in ("initial", "best", "final"):
        found[f"{which}.0.weight"] = rng.normal(size=(runs, 5, 3)).astype(np.float32)
        found[f"{which}.0.bias"] = rng.normal(size=(runs, 5)).astype(np.float32)
        found[f"{which}.norm.steps"] = rng.integers(0, 99, size=runs)  # a scalar of each run
        found[f"{which}.x"] = rng.normal(size=(runs, 2))
        found[f"{which}.half"] = rng.normal(size=(runs, 3)).astype(np.float16)
    return found


@pytest.mark.parametrize("which", ["initial", "best", "final"])
@pytest.mark.parametrize("row", [0, 3, 6])
def test_a_row_comes_out_as_a_file_of_its_own(
    artifacts: Counting, tmp_path: Path, which: str, row: int
) -> None:
    stacked = tensors(7)
    artifacts.write(NAME, [save(stacked, SHARED)])
    opened = open_row(artifacts, NAME, row, which, {"spec": "{}", "step": "9"})
    content = b"".join(opened.chunks())
    assert len(content) == opened.size_bytes
    found = load(content)
    assert set(found) == {"0.weight", "0.bias", "norm.steps", "x", "half"}
    for name, tensor in found.items():
        wanted = stacked[f"{which}.{name}"][row]
        assert (tensor.dtype, tensor.shape) == (wanted.dtype, wanted.shape)
        assert tensor.tobytes() == wanted.tobytes()
    (tmp_path / "cut.safetensors").write_bytes(content)
    with safe_open(tmp_path / "cut.safetensors", "numpy") as file:
        assert file.metadata() == {**SHARED, "spec": "{}", "step": "9"}


def test_the_file_is_the_one_that_the_library_writes_for_the_run_alone(
    artifacts: Counting,
) -> None:
    stacked = tensors(4)
    artifacts.write(NAME, [save(stacked)])
    content = b"".join(open_row(artifacts, NAME, 2, "final", {}).chunks())
    alone = {
        name.removeprefix("final."): np.array(tensor[2])
        for name, tensor in stacked.items()
        if name.startswith("final.")
    }
    length = int.from_bytes(content[:8], "little")
    theirs = save(alone)
    end = 8 + int.from_bytes(theirs[:8], "little")
    assert content[8 + length :] == theirs[end:]
    ours = json.loads(content[8 : 8 + length])
    del ours["__metadata__"]
    assert ours == json.loads(theirs[8:end])
    assert length % 8 == 0


def test_only_the_rows_own_bytes_are_read(artifacts: Counting) -> None:
    stacked: Tensors = {"final.w": np.arange(400_000, dtype=np.float64).reshape(100, 4000)}
    artifacts.write(NAME, [save(stacked)])
    content = b"".join(open_row(artifacts, NAME, 99, "final", {}).chunks())
    assert load(content)["w"].tolist() == stacked["final.w"][99].tolist()
    assert artifacts.num_read == 64 * 2**10 + 4000 * 8


def test_a_header_may_be_long_and_a_tensor_larger_than_a_piece(artifacts: Counting) -> None:
    stacked: Tensors = {"final.w": np.arange(3_000_000, dtype=np.float32).reshape(2, 1_500_000)}
    shared = {"feature_names": json.dumps(["feature"] * 20_000)}
    artifacts.write(NAME, [save(stacked, shared)])
    opened = open_row(artifacts, NAME, 1, "final", {})
    pieces = list(opened.chunks())
    assert max(len(piece) for piece in pieces) <= 4 * 2**20
    assert load(b"".join(pieces))["w"].tobytes() == stacked["final.w"][1].tobytes()


def test_what_is_not_there_is_not_found(artifacts: Counting) -> None:
    with pytest.raises(NotFoundError):
        open_row(artifacts, NAME, 0, "final", {})


@pytest.mark.parametrize(
    "content",
    [
        b"x",
        b"\xff" * 100,
        bytes(8),
        (4).to_bytes(8, "little") + b"null",
        (9).to_bytes(8, "little") + b"{no json}",
        save({"initial.w": np.zeros((9, 2))}),
        save({"final.w": np.zeros((3, 2))}),
        save({"final.w": np.zeros(())}),
        save({"final.w": np.zeros((0, 2))}),
    ],
)
def test_a_file_without_these_weights_is_damaged(artifacts: Counting, content: bytes) -> None:
    artifacts.write(NAME, [content])
    with pytest.raises(ArtifactError, match="damaged"):
        open_row(artifacts, NAME, 3, "final", {})


def test_a_file_that_was_cut_off_is_damaged(artifacts: Counting) -> None:
    content = save({"final.w": np.zeros((9, 2000))})
    artifacts.write(NAME, [content[:-20_000]])
    opened = open_row(artifacts, NAME, 7, "final", {})
    with pytest.raises(ArtifactError, match="damaged"):
        list(opened.chunks())
