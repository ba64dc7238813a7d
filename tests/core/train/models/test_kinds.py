"""The kinds of models beside perceptrons: the numbers of the same model written by hand in torch,
alone and in a stack, whatever the problem asks for."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from torch import Tensor, nn
from torch.nn import functional

from core.specs.job import JobSpec
from core.specs.parsing.job import parse_job
from core.specs.sizes.fusing import fusable
from core.specs.sizes.shapes import layers_of
from core.specs.validation.limits import Limits
from core.train.data.uploaded import uploads_from
from core.train.problems.supervised import SupervisedProblem, build_supervised_problem
from tests.core.train.data.uploads import Stored, stored
from tests.core.train.fused.harness import compare_with_alone
from tests.core.train.harness import train

Json = dict[str, Any]
CPU = torch.device("cpu")
STEPS = 20
DIGITS: Json = {"kind": "builtin", "name": "digits", "eval_fraction": 0.8}


def job(model: Json, data: Json = DIGITS, kind: str = "supervised", **rest: Any) -> JobSpec:
    problem = {"kind": kind, "data": data, "model": model}
    if "loss" in rest:
        problem["loss"] = rest.pop("loss")
    body = {
        "problem": problem,
        "optimizer": {"kind": "adam", "lr": 0.003},
        "precision": "float64",
        "batch_size": 16,
        "budget": {"max_steps": STEPS},
        "record": {"eval_every": None},
        "device": "cpu",
        **rest,
    }
    return parse_job(json.dumps(body).encode(), Limits())


class Sum(nn.Module):
    """Layers whose output is added to their input, or to what a shortcut makes of it."""

    def __init__(self, *inside: nn.Module, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        self.inside, self.shortcut = nn.Sequential(*inside), shortcut

    def forward(self, x: Tensor) -> Tensor:
        around: Tensor = x if self.shortcut is None else self.shortcut(x)
        inside: Tensor = self.inside(x)
        return inside + around


def basic_block(before: int, channels: int, stride: int) -> nn.Sequential:
    """The block of figure 5 (left) in He et al. 2015."""
    projected = nn.Sequential(
        nn.Conv2d(before, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
    )
    return nn.Sequential(
        Sum(
            nn.Conv2d(before, channels, 3, stride, 1, bias=False), nn.BatchNorm2d(channels),
            nn.ReLU(), nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(channels), shortcut=None if before == channels else projected,
        ),
        nn.ReLU(),
    )  # fmt: skip


def table_block(width: int, hidden: int) -> Sum:
    return Sum(
        nn.BatchNorm1d(width), nn.Linear(width, hidden), nn.ReLU(),
        nn.Linear(hidden, width, bias=False),
    )  # fmt: skip


IMAGE = nn.Unflatten(1, (1, 8, 8))
CASES: dict[str, tuple[JobSpec, nn.Module]] = {
    "cnn": (
        job({"kind": "cnn", "channels": [3, 5], "hidden": [7]}),
        nn.Sequential(
            IMAGE, nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(20, 7), nn.ReLU(), nn.Linear(7, 10),
        ),
    ),
    "cnn of a line": (
        job({"kind": "cnn", "channels": [3, 4], "kernel_size": 5, "stride": 2, "norm": "batch",
             "pool": None, "activation": "tanh"},
            {"kind": "builtin", "name": "breast_cancer"}),
        nn.Sequential(
            nn.Unflatten(1, (1, 30)), nn.Conv1d(1, 3, 5, 2, 2, bias=False), nn.BatchNorm1d(3),
            nn.Tanh(), nn.Conv1d(3, 4, 5, 2, 2, bias=False), nn.BatchNorm1d(4), nn.Tanh(),
            nn.Flatten(), nn.Linear(32, 2),
        ),
    ),
    "cnn, even kernel, norm of layers": (
        job({"kind": "cnn", "channels": [4], "kernel_size": 4, "norm": "layer", "pool": "avg"}),
        nn.Sequential(
            IMAGE, nn.Conv2d(1, 4, 4, padding=1), nn.GroupNorm(1, 4), nn.ReLU(),
            nn.AvgPool2d(2), nn.Flatten(), nn.Linear(36, 10),
        ),
    ),
    "cnn, residual": (
        job({"kind": "cnn", "channels": [4, 4], "residual": True, "norm": "batch",
             "pool": None, "kernel_size": 3}),
        nn.Sequential(IMAGE, basic_block(1, 4, 1), basic_block(4, 4, 1), nn.Flatten(),
                      nn.Linear(256, 10)),
    ),
    "resnet": (
        job({"kind": "resnet", "width": 3}),
        nn.Sequential(
            IMAGE, nn.Conv2d(1, 3, 3, padding=1, bias=False), nn.BatchNorm2d(3), nn.ReLU(),
            basic_block(3, 3, 1), basic_block(3, 6, 2), basic_block(6, 12, 2),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 10),
        ),
    ),
    "tabular": (
        job({"kind": "tabular", "width": 6, "hidden": [8, 5]}, {"kind": "builtin", "name": "wine"}),
        nn.Sequential(
            nn.Linear(13, 6, bias=False), table_block(6, 8), table_block(6, 5),
            nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3),
        ),
    ),
    "autoencoder": (
        job({"kind": "autoencoder", "hidden": [9], "latent": 3, "activation": "tanh"},
            kind="reconstruction"),
        nn.Sequential(
            nn.Linear(64, 9), nn.Tanh(), nn.Linear(9, 3), nn.Linear(3, 9), nn.Tanh(),
            nn.Linear(9, 64),
        ),
    ),
}  # fmt: skip


def problem_of(spec: JobSpec) -> SupervisedProblem:
    assert spec.problem.kind != "function"
    return build_supervised_problem(
        spec.problem, spec.batch_size, seed=spec.seed, device=CPU, dtype=torch.float64, metadata={}
    )


def copy_weights(problem: SupervisedProblem, by_hand: nn.Module) -> None:
    """Give the hand-written model the first weights, whatever order it registers them in."""
    mine = [(tuple(p.shape), p) for p in problem.parameters()]
    with torch.no_grad():
        for theirs in by_hand.parameters():
            place = next(n for n, (shape, _) in enumerate(mine) if shape == tuple(theirs.shape))
            theirs.copy_(mine.pop(place)[1])
    assert not mine


def losses_by_hand(spec: JobSpec, by_hand: nn.Module) -> list[float]:
    """Train it with torch's own Adam on the same rows."""
    problem, by_hand = problem_of(spec), by_hand.double()
    copy_weights(problem, by_hand)
    optimizer = torch.optim.Adam(by_hand.parameters(), lr=0.003)
    found = []
    for step in range(STEPS):
        features, targets = problem.batch(step)
        values = targets.is_floating_point()
        of = functional.mse_loss if values else functional.cross_entropy
        loss = of(by_hand(features), targets)
        found.append(loss.item())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return found


def losses_of(spec: JobSpec, folder: Path) -> list[float]:
    return [row["loss"] for row in train(spec, folder).events.histories["train"].values()]


@pytest.mark.parametrize("name", CASES)
def test_a_kind_trains_as_the_model_written_by_hand(name: str, tmp_path: Path) -> None:
    spec, by_hand = CASES[name]
    expected = losses_by_hand(spec, by_hand)
    assert losses_of(spec, tmp_path) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("name", CASES)
def test_the_counts_are_those_of_torchs_modules(name: str) -> None:
    spec, by_hand = CASES[name]
    assert spec.problem.kind != "function"
    layers = layers_of(spec.problem)
    assert layers.num_parameters == sum(p.numel() for p in by_hand.parameters())
    rows = torch.zeros(3, *layers.input, dtype=next(by_hand.parameters()).dtype)
    assert tuple(by_hand(rows).shape[1:]) == layers.layers[-1].output


@pytest.mark.parametrize("name", CASES)
def test_runs_in_a_stack_are_the_runs_alone(name: str, tmp_path: Path) -> None:
    spec, _ = CASES[name]
    specs = [
        spec.model_copy(
            update={
                "seed": seed,
                "optimizer": spec.optimizer.model_copy(update={"lr": lr}),
                "budget": spec.budget.model_copy(update={"max_steps": 4}),
            }
        )
        for seed, lr in ((0, 0.003), (0, 0.01), (1, 0.003))
    ]
    assert all(map(fusable, specs))
    compare_with_alone(specs, tmp_path)


KINDS: dict[str, Json] = {
    "cnn": {"channels": [2], "hidden": [3]},
    "resnet": {"width": 2},
    "tabular": {"width": 4, "hidden": [3]},
    "autoencoder": {"hidden": [3], "latent": 2},
}
ROWS = [[0.5, -1.0, 2.0, 0.0], [1.5, 0.0, -1.0, 1.0], [0.0, 1.0, 1.0, -2.0], [2.0, 0.5, 0.0, 1.0]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        ("binary_cross_entropy", [[0, 1, 1], [1, 0, 1], [0, 0, 1], [1, 1, 0]]),
        ("mse", [[0.5, 2.0], [1.0, -1.0], [0.0, 0.0], [3.0, 1.0]]),
        ("quantile", [[0.5, 2.0], [1.0, -1.0], [0.0, 0.0], [3.0, 1.0]]),
    ],
)
def test_each_kind_gives_several_labels_and_several_values(
    kind: str, loss: str, targets: list[list[float]], tmp_path: Path
) -> None:
    data = {"kind": "inline", "features": ROWS * 4, "targets": targets * 4, "eval_fraction": 0.0}
    spec = job({"kind": kind, **KINDS[kind]}, data, loss={"kind": loss})
    assert spec.problem.kind != "function"
    assert layers_of(spec.problem).layers[-1].output == (len(targets[0]),)
    losses = losses_of(spec, tmp_path)
    assert losses[-1] < losses[0]


def test_a_linear_autoencoder_finds_the_principal_components(tmp_path: Path) -> None:
    """The least error of rank 8 is the discarded part of the spectrum (Baldi and Hornik 1989)."""
    x = load_digits().data
    x = x - x.mean(0)
    kept = PCA(8).fit(x).explained_variance_.sum() * (len(x) - 1)
    least = ((x**2).sum() - kept) / x.size
    assert least == pytest.approx(6.12179275, abs=1e-8)
    data = {
        "kind": "inline", "features": x.tolist(), "eval_fraction": 0.0, "standardize": False,
    }  # fmt: skip
    model = {"kind": "autoencoder", "hidden": [], "latent": 8, "init": {"kind": "orthogonal"}}
    spec = job(
        model, data, "reconstruction", batch_size="full", budget={"max_steps": 1000},
        optimizer={"kind": "adam", "lr": 0.05}, schedule={"kind": "cosine"},
    )  # fmt: skip
    assert losses_of(spec, tmp_path)[-1] == pytest.approx(least, abs=1e-7)


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Stored]:
    """Rows of two categories and a number, whose class one of the categories decides."""
    draw = np.random.default_rng(0)
    lines = ["colour,size,weight,kind"]
    for _ in range(60):
        colour, size = draw.choice(["red", "green", "blue"]), draw.choice(["s", "l"])
        lines.append(f"{colour},{size},{draw.normal():.4f},{'a' if colour == 'red' else 'b'}")
    found = stored(tmp_path / "upload", "\n".join(lines).encode())
    with uploads_from(found.store):
        yield found


def test_a_category_is_the_row_of_an_embedding(table: Stored, tmp_path: Path) -> None:
    spec = table.spec(
        {"target": "kind", "split": {"kind": "fraction", "eval": 0.0}},
        model={"kind": "tabular", "embedding_dim": 3, "width": 5, "hidden": [4], "norm": None},
        precision="float64", budget={"max_steps": STEPS}, batch_size=10,
    )  # fmt: skip
    problem = problem_of(spec)
    weights = problem.state()
    features, _ = problem._batches.at(0)
    # blue, green, red, (other); l, s, (other); then the weight, standardized.
    assert set(torch.unique(features[:, :7]).tolist()) == {0.0, 1.0}
    colours, sizes = features[:, :4].argmax(1), features[:, 4:7].argmax(1)
    table_of = weights["embeddings.weight"]
    looked_up = torch.cat(
        [
            features[:, 7:],
            functional.embedding(colours, table_of[:4]),
            functional.embedding(sizes, table_of[4:]),
        ],
        1,
    )
    x = functional.linear(looked_up, weights["input.weight"], weights["input.bias"])
    inner = "blocks.0.layers.linear"
    hidden = functional.linear(x, weights[f"{inner}1.weight"], weights[f"{inner}1.bias"]).relu()
    x = x + functional.linear(hidden, weights[f"{inner}2.weight"], weights[f"{inner}2.bias"])
    expected = functional.linear(x.relu(), weights["output.weight"], weights["output.bias"])
    torch.testing.assert_close(problem._model(features), expected, rtol=1e-12, atol=1e-12)
    losses = losses_of(spec, tmp_path)
    assert losses[-1] < losses[0]
