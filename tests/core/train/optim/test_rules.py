"""The optimizers that torch does not have: against other people's libraries, and worked by hand."""

import json
import math
from collections.abc import Callable

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

from core.errors import InvalidInputError
from core.specs.optimizers.kinds import Cautious, Momentum, Optimizer, OwnOptimizer, follows_torch
from core.specs.parsing.job import parse_job
from core.specs.unions import members
from core.specs.validation.limits import Limits
from core.train.optim.build import build_optimizer, plain_step
from tests.core.train.optim.optimizers_of_specs import (
    DECOUPLING,
    REFERENCE,
    WITH_MOMENTUM,
    Json,
    built,
    tensors,
)

OWN = [kind for kind, model in members("optimizer").items() if issubclass(model, OwnOptimizer)]


def name_of(case: Json) -> str:
    return f"{case['spec']['kind']} by {case['library']}"


@pytest.mark.parametrize("case", REFERENCE["cases"], ids=name_of)
def test_the_weights_are_those_of_an_independent_implementation(case: Json) -> None:
    parameters = [nn.Parameter(each) for each in tensors(REFERENCE["start"])]
    slope = tensors(REFERENCE["slope"])
    update = plain_step(built(parameters, case["spec"]))
    for step, noise in enumerate(REFERENCE["noise"], 1):
        for parameter, s, n in zip(parameters, slope, tensors(noise), strict=True):
            parameter.grad = s * parameter.detach() + n
        update()
        if str(step) in case["weights"]:
            wanted = tensors(case["weights"][str(step)])
            for mine, other in zip(parameters, wanted, strict=True):
                torch.testing.assert_close(mine.detach(), other, rtol=1e-6, atol=1e-9)


def test_each_of_our_own_has_a_reference() -> None:
    assert {case["spec"]["kind"] for case in REFERENCE["cases"]} == set(OWN)


def lion() -> list[float]:
    # m = 0 and g = 2: sign(0.2), decay 0.1·0.5·1. Then m = 0.02, and g = −0.1 turns the sign:
    # 0.9·0.02 − 0.1·0.1 = 0.008 still goes down.
    first = 1.0 - 0.1 * (1 + 0.5 * 1.0)
    return [first, first - 0.1 * (1 + 0.5 * first)]


def adopt() -> list[float]:
    # The first update only sets v to (2 + 0.5·1)²; the second divides by its root: 3.5/2.5 is
    # clipped at 1, and m = 0.1·1.
    return [1.0, 1.0 - 0.1 * 0.1]


def ademamix() -> list[float]:
    # m₁ = 0.2 and v = 0.004, corrected to 2 and 4; m₂ = 0.02·g. α is ½ of 4, then all of it; the
    # half-life of β₃ is half-way between those of β₁ and β₃, then β₃'s.
    def half_life(beta: float) -> float:
        return math.log(0.5) / math.log(beta + 1e-8) - 1.0

    beta3 = 0.5 ** (1.0 / (0.5 * half_life(0.9) + 0.5 * half_life(0.99) + 1.0))
    slow = (1.0 - beta3) * 2.0
    first = 1.0 - 0.1 * ((2.0 + 2.0 * slow) / 2.0 + 0.5 * 1.0)
    mean = (0.9 * 0.2 + 0.1 * 3.0) / (1.0 - 0.9**2)
    square = (0.999 * 0.004 + 0.001 * 9.0) / (1.0 - 0.999**2)
    slow = 0.99 * slow + 0.01 * 3.0
    step = (mean + 4.0 * slow) / math.sqrt(square)
    return [first, first - 0.1 * (step + 0.5 * first)]


def schedule_free_sgd() -> list[float]:
    # z = 1 − 0.1·(2 + 0.5·1), and all of the mean. Then z = 0.75 − 0.1·(3 + 0.5·0.75), x is half of
    # it and half of 0.75, and the gradient is taken at nine tenths of x and one of z.
    z = 0.75 - 0.1 * (3.0 + 0.5 * 0.75)
    return [0.75, 0.1 * z + 0.9 * (0.75 + z) / 2]


def schedule_free_adamw() -> list[float]:
    # The first direction is g/√g² + 0.5·1.
    first = 1.0 - 0.1 * 1.5
    square = (0.999 * 0.004 + 0.001 * 9.0) / (1.0 - 0.999**2)
    z = first - 0.1 * (3.0 / math.sqrt(square) + 0.5 * first)
    return [first, 0.1 * z + 0.9 * (first + z) / 2]


def prodigy() -> list[float]:
    # d₀ = 0.1. At first w = w₀, so n = 0 and d stays 0.1; m = 0.1·0.1·2, v = 0.001·0.01·4, γ = 0.1.
    mean, square, sums = 0.02, 0.001 * 0.01 * 4.0, 0.1 * 2.0
    first = 1.0 - 0.1 * (mean / math.sqrt(square) + 0.5 * 1.0)
    # n = γ·3·(w₀ − w), s = β₃·0.2 + 0.1·3, d̂ = n/s; γ is still 0.1.
    number = 0.1 * 3.0 * (1.0 - first)
    sums = math.sqrt(0.999) * sums + 0.1 * 3.0
    assert number / sums > 0.1
    mean, square = 0.9 * mean + 0.1 * 0.1 * 3.0, 0.999 * square + 0.001 * 0.01 * 9.0
    second = first - 0.1 * (mean / math.sqrt(square) + 0.5 * first)
    # d has grown to n/s; β₃ is √β₂.
    number, sums, d = math.sqrt(0.999) * number, math.sqrt(0.999) * sums, number / sums
    number += (d / 0.1) * d * 4.0 * (1.0 - second)
    mean, square = 0.9 * mean + 0.1 * d * 4.0, 0.999 * square + 0.001 * d * d * 16.0
    return [first, second, second - d * (mean / math.sqrt(square) + 0.5 * second)]


def shampoo() -> list[float]:
    # A number has one axis of length 1: L = ε + Σg², and the mean of gradients is divided by its
    # root. Decay is added to the gradient: 2 + 0.5·1.
    seen, mean = 0.01 + 2.5**2, 0.5 * 2.5
    first = 1.0 - 0.1 * mean / math.sqrt(seen)
    gradient = 3.0 + 0.5 * first
    seen, mean = seen + gradient**2, 0.5 * mean + 0.5 * gradient
    return [first, first - 0.1 * mean / math.sqrt(seen)]


def soap() -> list[float]:
    # The first gradient moves nothing; then it is Adam (a number has nothing to turn), and the
    # decay is of the weight after the update.
    first = (1.0 - 0.1) * (1.0 - 0.1 * 0.5)
    mean = (0.95 * 0.05 * 3.0 + 0.05 * 4.0) / (1.0 - 0.95**2)
    square = (0.95 * 0.05 * 9.0 + 0.05 * 16.0) / (1.0 - 0.95**2)
    return [1.0, first, (first - 0.1 * mean / math.sqrt(square)) * (1.0 - 0.1 * 0.5)]


BY_HAND: dict[str, tuple[Json, list[float], Callable[[], list[float]]]] = {
    "lion": ({"lr": 0.1, "weight_decay": 0.5}, [2.0, -0.1], lion),
    "adopt": ({"lr": 0.1, "weight_decay": 0.5}, [2.0, 3.0], adopt),
    "ademamix": (
        {
            "lr": 0.1,
            "weight_decay": 0.5,
            "eps": 0.0,
            "betas": [0.9, 0.999, 0.99],
            "alpha": 4.0,
            "alpha_warmup": 2,
            "beta3_warmup": 2,
        },
        [2.0, 3.0],
        ademamix,
    ),
    "schedule_free_sgd": ({"lr": 0.1, "weight_decay": 0.5}, [2.0, 3.0], schedule_free_sgd),
    "shampoo": (
        {"lr": 0.1, "weight_decay": 0.5, "momentum": 0.5, "eps": 0.01},
        [2.0, 3.0],
        shampoo,
    ),
    "soap": ({"lr": 0.1, "weight_decay": 0.5, "eps": 0.0}, [2.0, 3.0, 4.0], soap),
    "prodigy": ({"d0": 0.1, "eps": 0.0, "weight_decay": 0.5}, [2.0, 3.0, 4.0], prodigy),
    "schedule_free_adamw": (
        {"lr": 0.1, "weight_decay": 0.5, "eps": 0.0},
        [2.0, 3.0],
        schedule_free_adamw,
    ),
}
"""Options, the gradients of some steps, and the weights after each, from 1."""


@pytest.mark.parametrize("kind", OWN)
def test_two_steps_have_the_values_worked_by_hand(kind: str) -> None:
    options, gradients, wanted = BY_HAND[kind]
    x = nn.Parameter(torch.ones((), dtype=torch.float64))
    optimizer = built([x], {"kind": kind, **options})
    found = []
    for gradient in gradients:
        x.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        found.append(x.item())
    assert found == pytest.approx(wanted(), abs=1e-12)


CAUTIOUS = [
    kind for kind, model in members("optimizer").items() if issubclass(model, Cautious | Momentum)
]


@pytest.mark.parametrize("kind", CAUTIOUS)
def test_a_cautious_update_leaves_out_what_goes_up_and_makes_up_for_it(kind: str) -> None:
    """Each step beside the one that the plain method makes from the same weights."""
    gradients = ([1.0, -2.0, 3.0, 4.0], [1.0, -1.0, 2.0, 1.0], [2.0, 0.1, 2.0, -0.1])
    options = {"kind": kind, "lr": 0.1, "weight_decay": 0.5, "decoupled_weight_decay": True}
    options |= WITH_MOMENTUM.get(kind, {})
    own, plain = (nn.Parameter(torch.ones(4, dtype=torch.float64)) for _ in range(2))
    cautious, other = built([own], {**options, "cautious": True}), built([plain], options)
    for number, values in enumerate(gradients):
        gradient = torch.tensor(values, dtype=torch.float64)
        before = own.detach().clone()
        with torch.no_grad():
            plain.copy_(before)
        own.grad, plain.grad = gradient.clone(), gradient.clone()
        cautious.step()
        other.step()
        found, wanted = own.detach(), plain.detach()
        if kind in ("adopt", "soap") and number == 0:
            assert torch.equal(found, wanted)  # nothing moves
            continue
        if kind == "soap":  # its decay is of what the update leaves
            found, wanted = found / (1.0 - 0.1 * 0.5), wanted / (1.0 - 0.1 * 0.5)
        else:
            found, wanted = found + 0.1 * 0.5 * before, wanted + 0.1 * 0.5 * before
        update = wanted - before
        agrees = update * gradient < 0
        if number == 2:
            assert agrees.tolist() == [True, False, True, False]  # two means have yet to turn
        wanted = update * agrees / max(float(agrees.double().mean()), 1e-3)
        torch.testing.assert_close(found - before, wanted, rtol=1e-12, atol=1e-14)


def test_cautious_means_are_taken_of_each_parameter() -> None:
    # Of two parameters, one whose numbers all agree moves as ever; of the other a half does.
    one, two = (nn.Parameter(torch.zeros(2, dtype=torch.float64)) for _ in range(2))
    optimizer = built([one, two], {"kind": "lion", "lr": 0.1, "cautious": True})
    for signs in ([1.0, 1.0], [0.1, -0.01]):
        before = two.detach().clone()
        one.grad = torch.ones(2, dtype=torch.float64)
        two.grad = torch.tensor(signs, dtype=torch.float64)
        optimizer.step()
    assert one.tolist() == pytest.approx([-0.2, -0.2])
    assert (two.detach() - before).tolist() == pytest.approx([-0.2, 0.0])


@pytest.mark.parametrize("kind", DECOUPLING)
def test_a_kind_of_torchs_is_torchs_own_as_long_as_torch_has_what_is_asked_for(kind: str) -> None:
    adapter: TypeAdapter[Optimizer] = TypeAdapter(Optimizer)
    spec = adapter.validate_python({"kind": kind})
    assert follows_torch(spec)
    parameters = [nn.Parameter(torch.ones(2))]
    cls = type(build_optimizer(spec, parameters)).__mro__[1]
    assert cls.__module__.startswith("torch.optim")
    assert cls.__name__.lower() == kind


@pytest.mark.parametrize("kind", ["sgd", "rmsprop"])
def test_cautious_without_a_momentum_is_refused_with_the_way_out(kind: str) -> None:
    body = {
        "problem": {"kind": "function", "function": {"kind": "sphere"}},
        "optimizer": {"kind": kind, "cautious": True},
    }
    with pytest.raises(InvalidInputError) as caught:
        parse_job(json.dumps(body).encode(), Limits())
    (error,) = caught.value.errors
    assert (error.param, error.code) == ("optimizer.cautious", "conflict")
    assert "momentum > 0" in error.message


@pytest.mark.parametrize("kind", OWN)
def test_maximizing_is_minimizing_the_negative(kind: str) -> None:
    ends = []
    for maximize, sign in ((False, 1.0), (True, -1.0)):
        parameters = [nn.Parameter(each) for each in tensors(REFERENCE["start"])]
        optimizer = built(parameters, {"kind": kind, "maximize": maximize, "weight_decay": 0.1})
        for noise in REFERENCE["noise"][:5]:
            for parameter, each in zip(parameters, tensors(noise), strict=True):
                parameter.grad = sign * (parameter.detach() + each)
            optimizer.step()
        ends.append([parameter.detach() for parameter in parameters])
    for one, other in zip(*ends, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("kind", OWN)
def test_a_gradient_that_is_no_number_makes_weights_that_are_none(kind: str) -> None:
    x = nn.Parameter(torch.ones(3, dtype=torch.float64))
    optimizer = built([x], {"kind": kind})
    for value in (1.0, math.nan, 1.0):
        x.grad = torch.tensor([1.0, value, 1.0], dtype=torch.float64)
        optimizer.step()
    assert not math.isfinite(x[1].item())


@pytest.mark.parametrize("kind", OWN)
def test_a_parameter_without_a_gradient_stays(kind: str) -> None:
    parameters = [nn.Parameter(each) for each in tensors(REFERENCE["start"])]
    optimizer = built(parameters, {"kind": kind, "weight_decay": 0.1})
    before = parameters[1].detach().clone()
    for step in range(3):
        parameters[0].grad = torch.full_like(parameters[0], 1.0 + step)
        optimizer.step()
    assert torch.equal(parameters[1].detach(), before)
    assert not torch.equal(parameters[0].detach(), tensors(REFERENCE["start"])[0])
