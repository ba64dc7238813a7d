"""MNIST-1D (Greydanus and Kobak 2020, arXiv 2011.14439): models come out in the paper's order.

    python -m tests.core.train.mnist1d        generates the data and trains; about 5 minutes

The authors' package makes the data, without a network once it is there. It is no dependency of
ours: pip fetches it alone into a temporary folder. What it imports for pictures and downloads
(matplotlib, requests) is not used here, and empty modules stand in for it.
"""

import io
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from core.train.data.uploaded import uploads_from
from tests.core.train.data.uploads import Stored, stored
from tests.core.train.harness import train

Json = dict[str, Any]
PACKAGE: Final = "mnist1d==0.0.2.post1"
WITHIN: Final = 3.0
"""Percentage points by which a figure may differ from the paper's."""

_GENERATE: Final = """
import sys, types
for name in ("matplotlib", "matplotlib.pyplot", "requests"):
    sys.modules[name] = types.ModuleType(name)
sys.path.insert(0, sys.argv[1])
import numpy as np
from mnist1d.data import get_dataset_args, make_dataset
made = make_dataset(get_dataset_args())
np.savez(sys.argv[2], **{name: made[name] for name in ("x", "y", "x_test", "y_test")})
"""


class Row(NamedTuple):
    """A model, the paper's accuracy of it in percent, and the steps that it gets."""

    model: Json
    accuracy: float
    steps: int


GRU: Final = {
    "kind": "layers",
    "layers": [
        {"kind": "unflatten", "unflattened_size": [40, 1]},
        {"kind": "gru", "hidden_size": 6, "bidirectional": True},
        {"kind": "flatten"},
        {"kind": "linear"},
    ],
}
"""The authors' recurrent model: both directions, of which all 40 states are read."""
ROWS: Final = {
    "logistic": Row({"kind": "linear"}, 32.0, 2000),
    "mlp": Row({"kind": "mlp", "hidden": [100, 100]}, 68.0, 3000),
    "gru": Row(GRU, 91.0, 5500),
    "cnn": Row(
        {"kind": "cnn", "channels": [25, 25, 25], "kernel_size": 5, "stride": 2, "pool": None},
        94.0, 6000,
    ),
}  # fmt: skip
"""The paper's table, from the worst to the best; each trains with Adam, 0.01, batches of 100."""


def npz(x: Any, y: Any, x_test: Any, y_test: Any) -> bytes:
    """Write rows for training and for evaluation as a file to upload."""
    file = io.BytesIO()
    held_out = np.repeat([0, 1], [len(x), len(x_test)])
    np.savez(file, x=np.concatenate([x, x_test]), y=np.concatenate([y, y_test]), part=held_out)
    return file.getvalue()


def generated(folder: Path) -> bytes:
    """Generate the data set with the authors' package."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
    subprocess.run([*pip, str(folder / "package"), PACKAGE], check=True)
    file = folder / "made.npz"
    subprocess.run(
        [sys.executable, "-c", _GENERATE, str(folder / "package"), str(file)], check=True
    )
    with np.load(file) as made:
        return npz(made["x"], made["y"], made["x_test"], made["y_test"])


def accuracy(file: Stored, model: Json, steps: int, folder: Path) -> float:
    """Train on a file of `npz` and return the accuracy at the end, in percent."""
    spec = file.spec(
        {"target": "y", "features": ["x"], "standardize": False,
         "split": {"kind": "column", "name": "part", "eval": [1]}},
        model=model, optimizer={"kind": "adam", "lr": 0.01}, batch_size=100,
        budget={"max_steps": steps}, record={"every": 100, "eval_every": None},
    )  # fmt: skip
    with uploads_from(file.store):
        ended = train(spec, folder)
    return 100.0 * float(ended.ending.result["eval"]["accuracy"])


def main() -> int:
    """Print the table; return 0 when each figure and their order are the paper's."""
    found: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = stored(folder / "upload", generated(folder), "application/x-npz")
        for kind, row in ROWS.items():
            found.append(accuracy(file, row.model, row.steps, folder / kind))
            print(f"{kind:10} {found[-1]:5.1f} %   the paper's: {row.accuracy:.0f} %", flush=True)
    near = all(abs(a - row.accuracy) <= WITHIN for a, row in zip(found, ROWS.values(), strict=True))
    return int(not near or found != sorted(found))


if __name__ == "__main__":
    sys.exit(main())
