"""The same loop on a GPU; skipped without one."""

import os
from pathlib import Path

import pytest
import torch

from core.artifacts.local import LocalJob
from core.train.loop import run
from tests.core.train.harness import JOB, Received, StopAt, blobs_job, parabola

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@pytest.mark.parametrize("eval_fraction", [0.0, 0.25])
def test_block_size_changes_no_bit(eval_fraction: float, tmp_path: Path) -> None:
    spec = blobs_job({"kind": "adam"}, 50, eval_fraction=eval_fraction)
    files = []
    for block_size in (1, 16, None):
        artifacts = LocalJob(tmp_path / str(block_size), JOB)
        events = Received()
        run(
            spec.model_copy(update={"device": "cuda"}),
            artifacts=artifacts,
            emit=events.emit,
            control=StopAt(),
            block_size=block_size,
        )
        files.append((artifacts.read("final.safetensors"), repr(events.histories)))
    assert files[0] == files[1] == files[2]


def test_a_long_run_in_blocks_reaches_the_known_answer(tmp_path: Path) -> None:
    spec = parabola(0.1, 320).model_copy(update={"device": "cuda"})
    artifacts = LocalJob(tmp_path, JOB)
    ending = run(spec, artifacts=artifacts, emit=Received().emit, control=StopAt())
    assert ending.result["value"] == pytest.approx((10 * 0.8**320) ** 2, rel=1e-9, abs=1e-60)
