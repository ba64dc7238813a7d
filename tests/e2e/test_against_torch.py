"""Jobs over HTTP give the bits that the same loop written by hand in torch gives; Muon, which torch
rounds to bfloat16, what its formula gives."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import pytest
import torch
from safetensors.torch import load
from torch import nn

from tests.e2e.client import Json, Service
from tests.e2e.studies import assert_close

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


class Steps(Protocol):
    """What the loop asks of an optimizer."""

    def zero_grad(self) -> None: ...
    def step(self, closure: Any) -> Any: ...


def by_hand(
    weights: Mapping[str, torch.Tensor], table: tuple[Any, Any], optimizer: Steps
) -> list[float]:
    """Full-batch training of tanh MLP weights in place; the losses before each update."""
    first = nn.functional.linear
    names = list(weights)
    w1, b1, w2, b2 = (weights[name] for name in sorted(names, key=order_of_layers))
    features, targets = torch.tensor(table[0], dtype=w1.dtype), torch.tensor(table[1])
    losses: list[float] = []

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        hidden = torch.tanh(first(features, w1, b1))
        loss = nn.functional.cross_entropy(first(hidden, w2, b2), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    for _ in range(STEPS):
        first_loss: torch.Tensor = optimizer.step(closure)
        losses.append(first_loss.detach().item())
    return losses


def order_of_layers(name: str) -> tuple[bool, bool]:
    """Hidden layer before output layer, weight before bias."""
    return ("output" in name, "bias" in name)


def spec_of(optimizer: Json, table: tuple[Any, Any], **more: Any) -> Json:
    """The job that `by_hand` repeats."""
    return {
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
        **more,
    }


Weights = dict[str, torch.Tensor]


def both(
    service: Service,
    table: tuple[Any, Any],
    spec: Json,
    build: Callable[[Sequence[nn.Parameter]], Steps],
) -> tuple[tuple[list[float], Weights], tuple[list[float], Weights], Weights]:
    """Losses and final weights of the service and of the loop by hand, and where both began."""
    job = service.run(spec)
    path = f"/v1/jobs/{job['id']}/model"
    initial = load(service.http.get(path, params={"checkpoint": "initial"}).content)
    final = load(service.http.get(path).content)
    weights = {name: nn.Parameter(tensor.clone()) for name, tensor in initial.items()}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        ordered = [weights[name] for name in sorted(weights, key=order_of_layers)]
        losses = by_hand(weights, table, build(ordered))
    finally:
        torch.set_num_threads(threads)
    mine = {name: weight.detach() for name, weight in weights.items()}
    return (service.series(job["id"], "loss"), final), (losses, mine), initial


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case[0].values())))
def test_an_optimizer_gives_torchs_own_bits(
    service: Service, table: tuple[Any, Any], case: tuple[Json, Any, dict[str, Any]]
) -> None:
    optimizer, torch_class, options = case
    (losses, final), (wanted_losses, wanted), _ = both(
        service, table, spec_of(optimizer, table), lambda weights: torch_class(weights, **options)
    )
    assert losses == wanted_losses
    for name, tensor in final.items():
        assert torch.equal(tensor, wanted[name]), name


class MuonBesideAdamW:
    """The hidden layer's matrix by Muon, both biases and the output layer by torch's AdamW."""

    def __init__(self, hidden: torch.optim.Optimizer, others: torch.optim.Optimizer) -> None:
        self._parts = (hidden, others)

    def zero_grad(self) -> None:
        for part in self._parts:
            part.zero_grad()

    def step(self, closure: Any) -> Any:
        loss = closure()
        for part in self._parts:
            part.step()
        return loss


class MuonBySingularValues(torch.optim.Optimizer):
    """Muon with Nesterov's momentum, its iteration carried out on singular values: in any precision
    what torch's own does in bfloat16. Matrices have no more columns than rows."""

    def __init__(
        self, params: Sequence[nn.Parameter], lr: float, weight_decay: float, momentum: float
    ) -> None:
        super().__init__(params, {"lr": lr})
        self._averages = [torch.zeros_like(each) for each in params]
        self._options = lr, weight_decay, momentum

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        lr, weight_decay, momentum = self._options
        for matrix, average in zip(self.param_groups[0]["params"], self._averages, strict=True):
            average.mul_(momentum).add_(matrix.grad, alpha=1 - momentum)
            ahead = momentum * average + (1 - momentum) * matrix.grad
            left, values, right = torch.linalg.svd(ahead, full_matrices=False)
            values = values / values.norm()
            for _ in range(5):
                values = 3.4445 * values - 4.775 * values**3 + 2.0315 * values**5
            rows, columns = matrix.shape
            matrix.mul_(1 - lr * weight_decay)
            matrix.sub_(lr * (rows / columns) ** 0.5 * (left * values) @ right)


@pytest.mark.parametrize(
    ("muon", "precision", "tolerance"),
    [(torch.optim.Muon, "float32", 0.01), (MuonBySingularValues, "float64", 1e-9)],
)
def test_muon_moves_the_hidden_matrix_and_adamw_all_else(
    service: Service, table: tuple[Any, Any], muon: Any, precision: str, tolerance: float
) -> None:
    options = {"lr": 0.02, "weight_decay": 0.1, "momentum": 0.9}
    adamw: Json = {"lr": 0.02 * 0.5, "weight_decay": 0.1, "betas": (0.8, 0.95)}
    optimizer = {"kind": "muon", "adamw_lr_scale": 0.5, "adamw_betas": [0.8, 0.95], **options}

    def beside_each_other(weights: Sequence[nn.Parameter]) -> Steps:
        hidden, *others = weights
        return MuonBesideAdamW(muon([hidden], **options), torch.optim.AdamW(others, **adamw))

    spec = spec_of(optimizer, table, precision=precision)
    (losses, final), (wanted_losses, wanted), initial = both(
        service, table, spec, beside_each_other
    )
    assert losses[-1] < losses[0]
    assert_close(losses, wanted_losses, tolerance)
    for name, tensor in final.items():
        way = wanted[name] - initial[name]
        assert (tensor - wanted[name]).norm() <= tolerance * way.norm(), name
