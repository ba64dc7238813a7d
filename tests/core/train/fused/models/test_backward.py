"""Gradients written out are those of automatic differentiation, to the bit."""

import pytest
import torch
from torch import Tensor

from core.specs.layers.expand import Perceptron, expand
from core.specs.layers.inputs import Inputs
from core.specs.losses import MSE, BinaryCrossEntropy, CrossEntropy, Loss, MultiMargin
from core.specs.models import MLP, LayerNorm, LinearModel, Model
from core.train.fused.models import linear
from core.train.fused.models.backward import ACTIVATIONS, written_out
from core.train.fused.models.losses import StackedLoss, stacked_loss
from core.train.fused.models.perceptron import StackedPerceptron
from core.train.fused.problems.base import differentiate
from core.train.losses import TargetForm, target_form
from core.train.tensors.packing import packing_of

CROSS_ENTROPY = CrossEntropy(kind="cross_entropy")
RUNS, INPUTS, OUTPUTS, PADDED = 6, 5, 3, 16


def perceptron_of(model: Model) -> Perceptron:
    found = expand(model, Inputs(INPUTS), OUTPUTS).perceptron
    assert found is not None
    return found


def weights_of(model: Model, *, bias: bool, dtype: torch.dtype) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(1)
    perceptron = perceptron_of(model)
    found: dict[str, Tensor] = {}
    for placed in (*(hidden.linear for hidden in perceptron.hidden), perceptron.output):
        weight, shift = placed.parameters
        found[weight.name] = torch.randn(RUNS, *weight.shape, generator=draw, dtype=dtype)
        if bias:
            found[shift.name] = torch.randn(RUNS, *shift.shape, generator=draw, dtype=dtype)
    return found


def targets_of(form: TargetForm, rows: int, dtype: torch.dtype) -> Tensor:
    draw = torch.Generator().manual_seed(2)
    ids = torch.randint(OUTPUTS, (RUNS, rows), generator=draw)
    if form == "class_ids":
        return ids
    values = torch.randn(RUNS, rows, OUTPUTS, generator=draw, dtype=dtype)
    return (values > 0).to(dtype) if form == "binary" else values


def masks_of(model: Model, dropout: float, draw: torch.Generator) -> list[Tensor] | None:
    if not dropout:
        return None
    hidden = [each.linear.output[0] for each in perceptron_of(model).hidden]
    drawn = [torch.rand(RUNS, PADDED, width, generator=draw) for width in hidden]
    return [(uniform > dropout).float() / (1 - dropout) for uniform in drawn]


def by_hand(
    perceptron: Perceptron,
    loss: StackedLoss,
    weights: dict[str, Tensor],
    x: Tensor,
    masks: list[Tensor] | None,
    targets: Tensor,
    *,
    one_batch: bool = False,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the losses and gradients that are written out."""
    function = written_out(perceptron, loss, one_batch=one_batch)
    assert function is not None
    packing = packing_of([weight.shape[1:] for weight in weights.values()], x.dtype.itemsize)
    held = torch.zeros(RUNS, packing.width, dtype=x.dtype)
    gradients = dict(zip(weights, packing.views(held), strict=True))
    return function(weights, x, masks, targets, gradients), gradients


def assert_the_same(
    model: Model, loss: Loss, *, rows: int = 16, bias: bool = True, dropout: float = 0.0
) -> None:
    dtype = torch.float32
    weights = weights_of(model, bias=bias, dtype=dtype)
    draw = torch.Generator().manual_seed(3)
    x = torch.randn(RUNS, PADDED, INPUTS, generator=draw, dtype=dtype)
    masks = masks_of(model, dropout, draw)
    targets = targets_of(target_form(loss), rows, dtype)
    of_loss = stacked_loss(loss)
    perceptron = perceptron_of(model)
    losses, gradients = by_hand(perceptron, of_loss, weights, x, masks, targets)

    leaves = {name: weight.clone().requires_grad_() for name, weight in weights.items()}
    outputs = StackedPerceptron(perceptron).forward(leaves, x, masks, {}, rows)
    expected, found = differentiate(of_loss(outputs, targets), list(leaves.values()))
    assert torch.equal(losses, expected)
    for name, gradient in zip(leaves, found, strict=True):
        assert torch.equal(gradients[name], gradient), name


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_of_every_activation_that_is_written_out(activation: str) -> None:
    model = MLP.model_validate({"kind": "mlp", "hidden": (8, 7), "activation": activation})
    assert_the_same(model, CROSS_ENTROPY)


@pytest.mark.parametrize(
    "loss",
    [
        CROSS_ENTROPY,
        CrossEntropy(kind="cross_entropy", label_smoothing=0.1),
        MultiMargin(kind="multi_margin"),
        BinaryCrossEntropy(kind="binary_cross_entropy"),
        MSE(kind="mse"),
    ],
    ids=lambda loss: repr(loss)[:40],
)
def test_of_every_kind_of_loss(loss: Loss) -> None:
    assert_the_same(MLP(kind="mlp", hidden=(8,)), loss)


@pytest.mark.parametrize("rows", [16, 13, 1])
def test_with_rows_that_only_fill_up(rows: int) -> None:
    assert_the_same(MLP(kind="mlp", hidden=(8,)), CROSS_ENTROPY, rows=rows)


def test_without_biases_and_without_hidden_layers() -> None:
    assert_the_same(MLP(kind="mlp", hidden=(8, 4)), CROSS_ENTROPY, bias=False)
    assert_the_same(LinearModel(kind="linear"), CROSS_ENTROPY, bias=False)
    assert_the_same(LinearModel(kind="linear"), MSE(kind="mse"))


def test_of_a_large_matrix() -> None:
    assert_the_same(MLP(kind="mlp", hidden=(160, 128)), CROSS_ENTROPY)


@pytest.mark.parametrize("rows", [16, 13])
@pytest.mark.parametrize("bias", [True, False])
def test_of_products_that_are_made_run_by_run(
    rows: int, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear, "LARGE_PRODUCT", 1)
    monkeypatch.setattr(linear, "WIDE", True)
    assert_the_same(MLP(kind="mlp", hidden=(8, 7)), CROSS_ENTROPY, rows=rows, bias=bias)
    assert_the_same(LinearModel(kind="linear"), MSE(kind="mse"), rows=rows, bias=bias)


def test_with_dropout() -> None:
    assert_the_same(MLP(kind="mlp", hidden=(8, 7), dropout=0.4), CROSS_ENTROPY, dropout=0.4)


@pytest.mark.parametrize("rows", [16, 13])
@pytest.mark.parametrize("loss", [CROSS_ENTROPY, MSE(kind="mse")], ids=["classes", "values"])
@pytest.mark.parametrize(
    ("model", "bias", "dropout"),
    [
        *(
            (MLP.model_validate({"kind": "mlp", "hidden": (8, 7), "activation": each}), True, 0.0)
            for each in ACTIVATIONS
        ),
        (MLP(kind="mlp", hidden=(8, 7)), False, 0.0),
        (MLP(kind="mlp", hidden=(8, 7), dropout=0.4), True, 0.4),
        (MLP(kind="mlp", hidden=(160, 128)), True, 0.0),
        (LinearModel(kind="linear"), True, 0.0),
    ],
)
def test_on_one_batch_they_are_the_same_but_for_rounding(
    model: Model, bias: bool, dropout: float, loss: Loss, rows: int
) -> None:
    draw = torch.Generator().manual_seed(3)
    x = torch.randn(PADDED, INPUTS, generator=draw).expand(RUNS, -1, -1)
    perceptron, of_loss = perceptron_of(model), stacked_loss(loss)
    weights = weights_of(model, bias=bias, dtype=torch.float32)
    masks = masks_of(model, dropout, draw)
    targets = targets_of(target_form(loss), rows, torch.float32)
    losses, found = by_hand(perceptron, of_loss, weights, x, masks, targets, one_batch=True)
    exactly = {name: weight.double() for name, weight in weights.items()}
    wide = None if masks is None else [mask.double() for mask in masks]
    precise = targets.double() if targets.is_floating_point() else targets
    wanted, gradients = by_hand(perceptron, of_loss, exactly, x.double(), wide, precise)
    torch.testing.assert_close(losses.double(), wanted, rtol=1e-5, atol=0)
    for name, gradient in gradients.items():
        torch.testing.assert_close(
            found[name].double(), gradient, rtol=0, atol=2e-6 * gradient.abs().max().item()
        )


def test_what_is_not_written_out_is_left_to_automatic_differentiation() -> None:
    loss = stacked_loss(CROSS_ENTROPY)
    normal = MLP(kind="mlp", hidden=(8,), norm=LayerNorm(kind="layer"))
    assert written_out(perceptron_of(normal), loss) is None
    assert written_out(perceptron_of(MLP(kind="mlp", hidden=(8,), activation="gelu")), loss) is None
