"""Models: their numbers, names and initial weights."""

import itertools
import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter
from torch import Tensor, nn

from core.specs import models
from core.specs.layers.expand import expand
from core.specs.layers.expansions.parts import ACTIVATION
from core.specs.layers.inputs import Inputs
from core.specs.models import Activation, Model
from core.train.determinism import generator
from core.train.models.activations import activation_function
from core.train.models.build import build_model
from core.train.models.layered import LayeredModel

CPU = torch.device("cpu")


def parsed(spec: dict[str, Any]) -> Model:
    adapter: TypeAdapter[Model] = TypeAdapter(Model)
    return adapter.validate_json(json.dumps(spec))


def build(spec: dict[str, Any], seed: int = 0, dtype: torch.dtype = torch.float32) -> LayeredModel:
    model = parsed(spec)
    layers = expand(model, Inputs(6), 4)
    return build_model(layers, model.init, seed=seed, device=CPU, dtype=dtype)


MODULES: dict[Activation, nn.Module] = {
    "relu": nn.ReLU(), "leaky_relu": nn.LeakyReLU(), "elu": nn.ELU(), "selu": nn.SELU(),
    "gelu": nn.GELU(), "silu": nn.SiLU(), "mish": nn.Mish(), "softplus": nn.Softplus(),
    "softsign": nn.Softsign(), "tanh": nn.Tanh(), "sigmoid": nn.Sigmoid(),
    "hardswish": nn.Hardswish(), "identity": nn.Identity(),
}  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_an_activation_is_torchs_module_of_that_name(name: Activation) -> None:
    x = torch.linspace(-4, 4, 33)

    assert torch.equal(activation_function(ACTIVATION[name])(x), MODULES[name](x))


def sequential(model: LayeredModel, norm: dict[str, Any] | None, dropout: float) -> nn.Sequential:
    """The same model, written by hand."""
    layers: list[nn.Module] = []
    widths = [6, 5, 3]
    batch = norm is not None and norm["kind"] == "batch"
    for wide, out in itertools.pairwise(widths):
        layers.append(nn.Linear(wide, out, bias=not batch or norm == KEPT))
        if norm is not None:
            layers.append(nn.BatchNorm1d(out) if batch else nn.LayerNorm(out))
        layers.extend([nn.Tanh(), nn.Dropout(dropout)])
    by_hand = nn.Sequential(*layers, nn.Linear(3, 4))
    by_hand.load_state_dict(
        dict(zip(by_hand.state_dict(), model.state_dict().values(), strict=True))
    )
    return by_hand


KEPT = {"kind": "batch", "bias_before": True}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("norm", [None, {"kind": "batch"}, KEPT, {"kind": "layer"}])
def test_an_mlp_computes_what_the_sequence_of_modules_does(
    norm: dict[str, Any] | None, dropout: float, training: bool
) -> None:
    spec = {"kind": "mlp", "hidden": [5, 3], "activation": "tanh", "norm": norm}
    model = build({**spec, "dropout": dropout}).train(training)
    by_hand = sequential(model, norm, dropout).train(training)
    x = torch.randn(7, 6, generator=torch.Generator().manual_seed(0))

    outputs: list[Tensor] = []
    for each in (model, by_hand):
        torch.manual_seed(3)
        outputs.append(each(x))
        outputs[-1].square().sum().backward()  # type: ignore[no-untyped-call]

    assert torch.equal(outputs[0], outputs[1])
    for mine, theirs in zip(model.parameters(), by_hand.parameters(), strict=True):
        assert mine.grad is not None
        assert theirs.grad is not None
        assert torch.equal(mine.grad, theirs.grad)
    for mine_state, their_state in zip(
        model.state_dict().values(), by_hand.state_dict().values(), strict=True
    ):
        assert torch.equal(mine_state, their_state)


def by_the_guide(spec: Model, weights: dict[str, NDArray[np.float64]], x: Any) -> Any:
    """The outputs of a model by the names and the formula in docs/users.md, "The weights"."""
    number = 0
    while f"hidden.{number}.linear.weight" in weights:
        assert isinstance(spec, models.MLP)
        layer = f"hidden.{number}"
        x = x @ weights[f"{layer}.linear.weight"].T + weights.get(f"{layer}.linear.bias", 0.0)
        norm = spec.norm
        if norm is not None:
            if norm.kind == "batch":
                m = weights[f"{layer}.norm.running_mean"]
                v = weights[f"{layer}.norm.running_var"]
            else:
                m, v = x.mean(axis=1, keepdims=True), x.var(axis=1, keepdims=True)
            x = (x - m) / np.sqrt(v + norm.eps) * weights[f"{layer}.norm.weight"]
            x = x + weights.get(f"{layer}.norm.bias", 0.0)
        x = np.tanh(x) if spec.activation == "tanh" else x
        number += 1
    return x @ weights["output.weight"].T + weights.get("output.bias", 0.0)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("norm", [None, {"kind": "batch"}, KEPT, {"kind": "layer"}])
@pytest.mark.parametrize("activation", ["tanh", "identity"])
@pytest.mark.parametrize("kind", ["mlp", "linear"])
def test_the_weights_give_the_outputs_by_the_formula_of_the_guide(
    kind: str, activation: str, norm: dict[str, Any] | None, bias: bool
) -> None:
    mlp = {"hidden": [5, 3], "activation": activation, "norm": norm, "dropout": 0.5}
    spec = {"kind": kind, "bias": bias, **(mlp if kind == "mlp" else {})}
    model = build({**spec, "init": {"kind": "torch_default"}}, dtype=torch.float64)
    draw = torch.Generator().manual_seed(0)
    for _ in range(3):  # so that there are running statistics
        model(torch.randn(40, 6, dtype=torch.float64, generator=draw))
    x = torch.randn(7, 6, dtype=torch.float64, generator=draw)
    found = by_the_guide(
        parsed(spec),
        {name: tensor.numpy() for name, tensor in model.state_dict().items()},
        x.numpy(),
    )
    np.testing.assert_allclose(found, model.eval()(x).detach().numpy(), rtol=1e-12, atol=1e-12)


def test_parameters_have_stable_names() -> None:
    named = {"kind": "mlp", "hidden": [5], "norm": KEPT}

    assert list(build(named).state_dict()) == [
        "hidden.0.linear.weight", "hidden.0.linear.bias", "hidden.0.norm.weight",
        "hidden.0.norm.bias", "hidden.0.norm.running_mean", "hidden.0.norm.running_var",
        "hidden.0.norm.num_batches_tracked", "output.weight", "output.bias",
    ]  # fmt: skip
    without = list(build({**named, "norm": "batch"}).state_dict())
    assert without == [
        "hidden.0.linear.weight", "hidden.0.norm.weight", "hidden.0.norm.bias",
        "hidden.0.norm.running_mean", "hidden.0.norm.running_var",
        "hidden.0.norm.num_batches_tracked", "output.weight", "output.bias",
    ]  # fmt: skip
    assert list(build({"kind": "linear", "bias": False}).state_dict()) == ["output.weight"]


def parameters(spec: dict[str, Any]) -> set[str]:
    return {name.removeprefix("hidden.") for name, _ in build(spec).named_parameters()}


@pytest.mark.parametrize("activation", MODULES)
@pytest.mark.parametrize("norm", ["batch", "layer"])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_no_parameter_is_a_constant_before_a_norm_of_the_batch(
    activation: str, norm: str, dropout: float
) -> None:
    spec = {"kind": "mlp", "hidden": [5, 3], "norm": norm, "activation": activation}
    found = parameters({**spec, "dropout": dropout})
    everywhere = {
        *("0.linear.weight", "0.norm.weight", "1.linear.weight", "1.norm.weight"),
        *("1.norm.bias", "output.weight", "output.bias"),
    }
    if norm == "layer":
        expected = everywhere | {"0.linear.bias", "1.linear.bias", "0.norm.bias"}
    elif activation == "identity" and not dropout:
        expected = everywhere
    else:
        expected = everywhere | {"0.norm.bias"}
    assert found == expected


@pytest.mark.parametrize("activation", MODULES)
@pytest.mark.parametrize("norm", ["batch", "layer", None])
def test_every_parameter_has_a_gradient_that_is_more_than_rounding(
    activation: str, norm: str | None
) -> None:
    spec = {"kind": "mlp", "hidden": [5, 3], "norm": norm, "activation": activation}
    model = build({**spec, "init": {"kind": "torch_default"}}, dtype=torch.float64)
    x = torch.randn(40, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.nn.functional.cross_entropy(model(x), torch.arange(40) % 4).backward()  # type: ignore[no-untyped-call]
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().max().item() > 1e-6, name


@pytest.mark.parametrize(
    "spec",
    [
        {"kind": "linear"},
        {"kind": "mlp", "hidden": []},
        {"kind": "mlp", "hidden": [5, 7], "norm": "batch"},
        {"kind": "mlp", "hidden": [5, 7], "norm": KEPT},
        {"kind": "mlp", "hidden": [5, 7], "norm": "batch", "activation": "identity"},
        {"kind": "mlp", "hidden": [5, 7], "norm": KEPT, "activation": "identity"},
        {"kind": "mlp", "hidden": [], "norm": "batch"},
        {"kind": "mlp", "hidden": [3], "bias": False, "norm": "layer"},
    ],
)
def test_the_number_of_parameters_is_what_the_spec_foretells(spec: dict[str, Any]) -> None:
    model = build(spec)

    assert (
        sum(p.numel() for p in model.parameters())
        == expand(parsed(spec), Inputs(6), 4).num_parameters
    )


def weights(init: dict[str, Any], dtype: torch.dtype = torch.float64) -> Tensor:
    """A weight matrix of shape 40 x 60 as drawn by `init`."""
    spec = {"kind": "mlp", "hidden": [40], "init": init}
    of = parsed(spec)
    layers = expand(of, Inputs(60), 4)
    model = build_model(layers, of.init, seed=1, device=CPU, dtype=dtype)
    drawn: Tensor = model.state_dict()["hidden.0.linear.weight"]
    return drawn


@pytest.mark.parametrize(
    ("init", "bound"),
    [
        ({"kind": "kaiming_uniform"}, math.sqrt(6 / 60)),
        ({"kind": "torch_default"}, math.sqrt(1 / 60)),
        ({"kind": "xavier_uniform", "gain": 2.0}, 2 * math.sqrt(6 / 100)),
        ({"kind": "uniform", "low": -0.3, "high": 0.3}, 0.3),
    ],
)
def test_uniform_initializers_fill_their_interval(init: dict[str, Any], bound: float) -> None:
    drawn = weights(init)

    assert drawn.abs().max().item() <= bound
    assert drawn.abs().max().item() > 0.99 * bound
    assert drawn.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)


@pytest.mark.parametrize(
    ("init", "std"),
    [
        ({"kind": "kaiming_normal"}, math.sqrt(2 / 60)),
        ({"kind": "xavier_normal"}, math.sqrt(2 / 100)),
        ({"kind": "normal", "std": 0.02}, 0.02),
    ],
)
def test_normal_initializers_have_their_spread(init: dict[str, Any], std: float) -> None:
    assert weights(init).std().item() == pytest.approx(std, rel=0.05)


def test_orthogonal_rows_are_orthonormal_times_gain() -> None:
    drawn = weights({"kind": "orthogonal", "gain": 3.0})

    torch.testing.assert_close(drawn @ drawn.T, 9 * torch.eye(40, dtype=torch.float64))


def test_constant_fills_weights() -> None:
    assert set(weights({"kind": "constant", "value": 0.7}).flatten().tolist()) == {0.7}


@pytest.mark.parametrize("init", ["kaiming_uniform", "orthogonal", "normal", "uniform", "constant"])
def test_biases_are_zero_but_for_torch_default(init: str) -> None:
    zero = build({"kind": "mlp", "init": {"kind": init}}).state_dict()
    drawn = build({"kind": "mlp", "init": {"kind": "torch_default"}}).state_dict()

    assert not zero["output.bias"].any()
    assert 0 < drawn["output.bias"].abs().max().item() <= 1 / math.sqrt(64)


def test_each_parameter_draws_from_a_generator_of_its_own_number() -> None:
    drawn = build({"kind": "mlp", "hidden": [5]}, seed=9, dtype=torch.float64).state_dict()

    # Parameters in order: hidden weight 0, hidden bias 1, output weight 2, output bias 3.
    expected = torch.empty(4, 5, dtype=torch.float64)
    nn.init.kaiming_uniform_(expected, nonlinearity="relu", generator=generator(9, "init", 2))
    assert torch.equal(drawn["output.weight"], expected)


@pytest.mark.parametrize("kind", ["kaiming_uniform", "xavier_normal", "orthogonal"])
def test_float32_weights_are_the_float64_ones_rounded(kind: str) -> None:
    init = {"kind": kind}

    assert torch.equal(weights(init, torch.float32), weights(init).float())


def test_building_a_model_leaves_torchs_default_generator_alone() -> None:
    before = torch.get_rng_state()

    build({"kind": "mlp", "norm": "layer"})

    assert torch.equal(torch.get_rng_state(), before)
