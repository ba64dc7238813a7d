"""Every optimizer of torch that a spec names is torch's own, to the last bit: all but Muon
(test_muon.py) and those that torch does not have (test_rules.py)."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from core.specs.optimizers.kinds import Optimizer, OwnOptimizer
from core.specs.unions import members
from core.train.optim.build import build_optimizer, plain_step

STEPS = 20
OWN = {kind for kind, model in members("optimizer").items() if issubclass(model, OwnOptimizer)}

CASES: list[tuple[str, type[torch.optim.Optimizer], dict[str, Any]]] = [
    ("sgd", torch.optim.SGD, {}),
    ("sgd", torch.optim.SGD, {"lr": 0.02, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("sgd", torch.optim.SGD, {"lr": 0.02, "momentum": 0.5, "dampening": 0.3, "maximize": True}),
    ("sgd", torch.optim.SGD, {"lr": 0.02, "momentum": 0.9, "fused": True}),
    ("adam", torch.optim.Adam, {}),
    ("adam", torch.optim.Adam, {"lr": 0.01, "betas": (0.8, 0.9), "eps": 1e-6, "amsgrad": True}),
    ("adam", torch.optim.Adam, {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("adam", torch.optim.Adam, {"lr": 0.01, "fused": True}),
    ("adam", torch.optim.Adam, {"lr": 0.01, "foreach": True, "maximize": True}),
    ("adamw", torch.optim.AdamW, {}),
    ("adamw", torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.2, "amsgrad": True}),
    ("adamax", torch.optim.Adamax, {}),
    ("adamax", torch.optim.Adamax, {"lr": 0.01, "betas": (0.7, 0.8), "weight_decay": 0.1}),
    ("nadam", torch.optim.NAdam, {}),
    ("nadam", torch.optim.NAdam, {"momentum_decay": 0.1, "decoupled_weight_decay": True}),
    ("radam", torch.optim.RAdam, {}),
    ("radam", torch.optim.RAdam, {"lr": 0.1, "weight_decay": 0.1, "betas": (0.5, 0.6)}),
    ("adagrad", torch.optim.Adagrad, {}),
    ("adagrad", torch.optim.Adagrad, {"lr_decay": 0.1, "initial_accumulator_value": 0.5}),
    ("adadelta", torch.optim.Adadelta, {}),
    ("adadelta", torch.optim.Adadelta, {"lr": 0.5, "rho": 0.5, "eps": 1e-3, "weight_decay": 0.1}),
    ("rmsprop", torch.optim.RMSprop, {}),
    ("rmsprop", torch.optim.RMSprop, {"alpha": 0.9, "momentum": 0.5, "centered": True}),
    ("rprop", torch.optim.Rprop, {}),
    ("rprop", torch.optim.Rprop, {"etas": (0.4, 1.5), "step_sizes": (1e-5, 1.0)}),
    ("asgd", torch.optim.ASGD, {}),
    ("asgd", torch.optim.ASGD, {"lambd": 0.01, "alpha": 0.5, "t0": 5.0, "weight_decay": 0.1}),
    ("adafactor", torch.optim.Adafactor, {}),
    ("adafactor", torch.optim.Adafactor, {"eps": (1e-6, 1e-2), "d": 2.0, "beta2_decay": -0.5}),
    ("lbfgs", torch.optim.LBFGS, {}),
    ("lbfgs", torch.optim.LBFGS, {"lr": 0.5, "max_iter": 4, "line_search_fn": "strong_wolfe"}),
]  # fmt: skip


def _parsed(kind: str, options: dict[str, Any]) -> Optimizer:
    adapter: TypeAdapter[Optimizer] = TypeAdapter(Optimizer)
    return adapter.validate_json(TypeAdapter(dict).dump_json({"kind": kind, **options}))


def _parameters() -> list[nn.Parameter]:
    source = torch.Generator().manual_seed(5)
    return [nn.Parameter(torch.randn(shape, generator=source)) for shape in ((4, 3), (3,), ())]


def _loss(parameters: list[nn.Parameter]) -> Tensor:
    matrix, vector, scalar = parameters
    return ((matrix @ vector - 1) ** 2).sum() + torch.cosh(scalar) + 0.1 * (matrix**4).sum()


def _run(parameters: list[nn.Parameter], optimizer: torch.optim.Optimizer) -> list[float]:
    losses: list[float] = []

    def closure() -> float:
        optimizer.zero_grad()
        loss = _loss(parameters)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    for _ in range(STEPS):
        if isinstance(optimizer, torch.optim.LBFGS):
            losses.append(float(optimizer.step(closure)))  # type: ignore[no-untyped-call]
        else:
            losses.append(closure())
            optimizer.step()
    return losses


@pytest.mark.parametrize(("kind", "torch_class", "options"), CASES)
def test_a_run_equals_hand_run_torch_bit_for_bit(
    kind: str, torch_class: Callable[..., torch.optim.Optimizer], options: dict[str, Any]
) -> None:
    ours, by_hand = _parameters(), _parameters()

    losses = _run(ours, build_optimizer(_parsed(kind, options), ours))

    assert losses == _run(by_hand, torch_class(by_hand, **options))
    for mine, theirs in zip(ours, by_hand, strict=True):
        assert torch.equal(mine, theirs)


def test_the_cases_cover_every_kind() -> None:
    assert {kind for kind, _, _ in CASES} | {"muon"} | OWN == set(members("optimizer"))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("muon", {}),
        *((kind, {"weight_decay": 0.1}) for kind in sorted(OWN)),
        *((kind, options) for kind, _, options in CASES if kind != "lbfgs"),
    ],
)
def test_a_plain_step_updates_as_the_wrapped_one_does(kind: str, options: dict[str, Any]) -> None:
    wrapped, plain = _parameters(), _parameters()
    first = build_optimizer(_parsed(kind, options), wrapped)
    update = plain_step(build_optimizer(_parsed(kind, options), plain))

    for _ in range(5):
        for parameters in (wrapped, plain):
            for parameter in parameters:
                parameter.grad = None
            _loss(parameters).backward()  # type: ignore[no-untyped-call]
        first.step()
        update()

    for mine, theirs in zip(plain, wrapped, strict=True):
        assert torch.equal(mine, theirs)


def test_two_steps_of_adam_have_the_values_worked_by_hand() -> None:
    # f = x²/2 from 1: the first step is −lr·g/(|g| + eps) = −0.1, to 0.9. Then
    # m̂ = (0.9·0.1·1 + 0.1·0.9)/(1 − 0.9²), v̂ = (0.999·0.001·1 + 0.001·0.81)/(1 − 0.999²).
    x = nn.Parameter(torch.ones((), dtype=torch.float64))
    optimizer = build_optimizer(_parsed("adam", {"lr": 0.1, "eps": 0.0}), [x])
    for _ in range(2):
        optimizer.zero_grad()
        (x**2 / 2).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    m = (0.9 * 0.1 + 0.1 * 0.9) / (1 - 0.9**2)
    v = (0.999 * 0.001 + 0.001 * 0.81) / (1 - 0.999**2)
    assert x.item() == pytest.approx(0.9 - 0.1 * m / v**0.5, abs=1e-14)
