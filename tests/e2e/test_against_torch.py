"""Jobs over HTTP give the bits that the same loop written by hand in torch gives."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from safetensors.torch import load
from torch import nn

from tests.e2e.client import Json, Service

ROWS, FEATURES, CLASSES, STEPS = 40, 5, 3, 25

CASES: list[tuple[Json, type[torch.optim.Optimizer], dict[str, Any]]] = [
    ({"kind": "sgd", "lr": 0.1, "momentum": 0.9}, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    (
        {"kind": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
        torch.optim.SGD,
        {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    ),
    ({"kind": "adam", "lr": 0.01}, torch.optim.Adam, {"lr": 0.01}),
    ({"kind": "adam", "amsgrad": True}, torch.optim.Adam, {"amsgrad": True}),
    ({"kind": "adamw", "lr": 0.01}, torch.optim.AdamW, {"lr": 0.01}),
    ({"kind": "adamax"}, torch.optim.Adamax, {}),
    ({"kind": "nadam"}, torch.optim.NAdam, {}),
    ({"kind": "radam"}, torch.optim.RAdam, {}),
    ({"kind": "adagrad"}, torch.optim.Adagrad, {}),
    ({"kind": "adadelta"}, torch.optim.Adadelta, {}),
    ({"kind": "rmsprop"}, torch.optim.RMSprop, {}),
    (
        {"kind": "rmsprop", "centered": True, "momentum": 0.5},
        torch.optim.RMSprop,
        {"centered": True, "momentum": 0.5},
    ),
    ({"kind": "rprop"}, torch.optim.Rprop, {}),
    ({"kind": "asgd"}, torch.optim.ASGD, {}),
    ({"kind": "adafactor"}, torch.optim.Adafactor, {}),
    (
        {"kind": "lbfgs", "line_search_fn": "strong_wolfe"},
        torch.optim.LBFGS,
        {"line_search_fn": "strong_wolfe"},
    ),
]


@pytest.fixture(scope="module")
def table() -> tuple[list[list[float]], list[int]]:
    generator = torch.Generator().manual_seed(7)
    features = torch.randn(ROWS, FEATURES, generator=generator)
    targets = torch.randint(CLASSES, (ROWS,), generator=generator)
    return features.tolist(), targets.tolist()


def by_hand(
    weights: Mapping[str, torch.Tensor], table: tuple[Any, Any], optimizer: torch.optim.Optimizer
) -> list[float]:
    """Full-batch training of tanh MLP weights in place; the losses before each update."""
    features, targets = torch.tensor(table[0]), torch.tensor(table[1])
    first = nn.functional.linear
    names = list(weights)
    w1, b1, w2, b2 = (weights[name] for name in sorted(names, key=order_of_layers))
    losses: list[float] = []

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        hidden = torch.tanh(first(features, w1, b1))
        loss = nn.functional.cross_entropy(first(hidden, w2, b2), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    for _ in range(STEPS):
        first_loss: torch.Tensor = optimizer.step(closure)  # type: ignore[arg-type,assignment]
        losses.append(first_loss.detach().item())
    return losses


def order_of_layers(name: str) -> tuple[bool, bool]:
    """Hidden layer before output layer, weight before bias."""
    return ("output" in name, "bias" in name)


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case[0].values())))
def test_an_optimizer_gives_torchs_own_bits(
    service: Service, table: tuple[Any, Any], case: tuple[Json, Any, dict[str, Any]]
) -> None:
    optimizer, torch_class, options = case
    spec = {
        "problem": {
            "kind": "supervised",
            "data": {
                "kind": "inline",
                "features": table[0],
                "targets": table[1],
                "eval_fraction": 0,
                "standardize": False,
            },
            "model": {"kind": "mlp", "hidden": [8], "activation": "tanh"},
            "loss": {"kind": "cross_entropy"},
        },
        "optimizer": optimizer,
        "batch_size": "full",
        "budget": {"max_steps": STEPS},
    }
    job = service.run(spec)
    initial = load(
        service.http.get(f"/v1/jobs/{job['id']}/model", params={"checkpoint": "initial"}).content
    )
    final = load(service.http.get(f"/v1/jobs/{job['id']}/model").content)
    weights = {name: nn.Parameter(tensor) for name, tensor in initial.items()}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        ordered = [weights[name] for name in sorted(weights, key=order_of_layers)]
        losses = by_hand(weights, table, torch_class(ordered, **options))
    finally:
        torch.set_num_threads(threads)
    assert service.series(job["id"], "loss") == losses
    for name, tensor in final.items():
        assert torch.equal(tensor, weights[name].data), name
