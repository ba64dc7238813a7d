"""Learning from data as a problem: a model's mean loss over the rows of each step's batch."""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from core.specs.base import Json
from core.specs.job import OfData
from core.specs.layers.expand import Perceptron
from core.specs.layers.kinds import Dropout
from core.specs.losses import CrossEntropy, EvaluationMetric, Loss, chosen_of
from core.specs.sizes.cost import eval_rows
from core.specs.sizes.shapes import layers_of, problem_shape
from core.specs.splits.rows import HeldOut
from core.train.data.augment import Augment
from core.train.data.batches import Batch, Batches
from core.train.data.build import build_data
from core.train.data.dataset import Dataset, constant_columns, without_columns
from core.train.data.examine import examined
from core.train.determinism import key, one_thread
from core.train.losses import LossFunction, TokenLoss, build_loss, settled_loss, share_of
from core.train.metrics import Measurement, Table
from core.train.models.backward import PerceptronGradient, can_be_written_out
from core.train.models.layered import LayeredModel
from core.train.problems.base import WrittenOut, copy_state
from core.train.problems.model import model_of
from core.train.tensors.packing import packing_of

Forward = Callable[..., Tensor]
INITIAL_ROWS: Final = 4096
"""Training rows, at most, whose mean loss a run starts from."""


def initial_loss(model: LayeredModel, dataset: Dataset, loss: LossFunction, seed: int) -> float:
    """Return the mean loss of a model's weights in training mode over the first `INITIAL_ROWS`
    training rows. Dropout is drawn from a stream of its own, and running statistics stay as they
    are; always one thread, so that a run alone and one among others have the same bits."""
    features, targets = (
        rows[:INITIAL_ROWS] for rows in (dataset.train_features, dataset.train_targets)
    )
    kept = [buffer.clone() for buffer in model.buffers()]
    with torch.no_grad(), one_thread():
        if model.layers.draws:
            default_generator(features.device).manual_seed(key(seed, "initial_loss"))
        found = loss(model.forward(features), targets).item()
        for buffer, before in zip(model.buffers(), kept, strict=True):
            buffer.copy_(before)
    return found


class SupervisedProblem:
    """A model, a data set and a loss; satisfies `core.train.problems.base.Problem`."""

    def __init__(
        self,
        model: LayeredModel,
        dataset: Dataset,
        batches: Batches,
        loss: Loss,
        *,
        seed: int,
        metadata: dict[str, str],
        metrics: Sequence[EvaluationMetric],
        ignored_class: int | None = None,
        micro_batches: int = 1,
        autocast: bool = False,
        augment: Augment | None = None,
    ) -> None:
        self._model = model
        self._augment = augment
        self._ignored_class = ignored_class
        self._metrics = metrics
        self._written_out: WrittenOut | None = None
        self._forward: Forward = _autocast(model) if autocast else model.forward
        self._micro_batches = micro_batches
        self._plain = micro_batches == 1 and not autocast and not dataset.train_features.is_cuda
        self._dataset = dataset
        self._batches = batches
        self._loss = loss_function(loss, dataset)
        self._seed = seed
        self._metadata = metadata
        self._parameters = list(model.parameters())
        self._dropout = (
            default_generator(dataset.train_features.device) if model.layers.draws else None
        )
        self.num_parameters = sum(p.numel() for p in self._parameters)
        self.steps_per_epoch = batches.steps_per_epoch
        self.rows_per_batch = batches.rows_per_batch
        self.same_rows = batches.whole
        self.multiply_adds = model.layers.multiply_adds * batches.rows_per_batch

    def parameters(self) -> list[nn.Parameter]:
        return self._parameters

    def loss(self, step: int) -> Tensor:
        features, targets = self.batch(step)
        if self._micro_batches > 1:
            return self._accumulated(features, targets)
        return self._loss(self._forward(features), targets)

    def batch(self, step: int) -> Batch:
        """Return the step's rows, and have its dropout drawn next."""
        if self._dropout is not None:
            # torch's dropout draws from the default generator only.
            self._dropout.manual_seed(key(self._seed, "dropout", step))
        features, targets = self._batches.at(step)
        if self._augment is not None:
            features = self._augment.at(features, self._seed, step)
        return features, targets

    def written_out(self) -> WrittenOut | None:
        if not self._plain:
            return None
        if self._written_out is None:
            perceptron = self._model.layers.perceptron
            if perceptron is None or not can_be_written_out(perceptron):
                self._written_out = _Recorded(self, self._model)
            else:
                self._written_out = _WrittenOut(self, self._model, perceptron, self._loss)
        return self._written_out

    def _accumulated(self, features: Tensor, targets: Tensor) -> Tensor:
        """Return the batch's loss, whose gradient is computed here, one micro batch at a time."""
        masks = None if self._dropout is None else dropout_masks(self._model, features)
        parts = torch.tensor_split(torch.arange(len(features)), self._micro_batches)
        spans = [slice(int(part[0]), int(part[-1]) + 1) for part in parts if len(part)]

        def losses() -> Iterator[Tensor]:
            for rows in spans:
                some = None if masks is None else [mask[rows] for mask in masks]
                loss = self._loss(self._forward(features[rows], some), targets[rows])
                yield loss * share_of(self._loss, targets[rows], targets)

        moved = [parameter for parameter in self._parameters if parameter.requires_grad]
        total: Tensor = _Accumulated.apply(losses, *moved)  # type: ignore[no-untyped-call]
        return total

    def initial_loss(self) -> float | None:
        if self._batches.covers_all:
            return None
        return initial_loss(self._model, self._dataset, self._loss, self._seed)

    def evaluate(self, part: HeldOut = "eval") -> dict[str, float] | None:
        rows = self._dataset.rows(part)
        if rows is None:
            return None
        loss, measured = self.measure(*rows, self._metrics)
        values = {name: float(column[0]) for name, column in measured.values().items()}
        return {"loss": loss, **values}

    def confusion_matrix(self, part: HeldOut = "eval") -> Table | None:
        rows = self._dataset.rows(part)
        asked = [each for each in self._metrics if each.kind == "confusion_matrix"]
        if rows is None or not asked:
            return None
        _, measured = self.measure(*rows, asked)
        return measured.confusion()[0]

    def measure(
        self, features: Tensor, targets: Tensor, metrics: Sequence[EvaluationMetric]
    ) -> tuple[float, Measurement]:
        """Return the mean loss of these rows in evaluation mode, and what was measured of them."""
        total, measured = 0.0, Measurement(metrics, self._dataset.form, self._ignored_class)
        self._model.eval()
        with torch.no_grad():
            rows = eval_rows(self._model.layers)
            chunks = zip(torch.split(features, rows), torch.split(targets, rows), strict=True)
            for some, wanted in chunks:
                outputs = self._forward(some)
                # In proportion to the rows, so that the mean of the means is the mean.
                share = share_of(self._loss, wanted, targets, math.nan)
                total += self._loss(outputs, wanted).item() * share
                in_units = self._dataset.in_units
                measured.add(in_units(outputs).unsqueeze(0), in_units(wanted))
        self._model.train()
        return total, measured

    def after_update(self) -> None:
        return

    def point(self) -> Tensor | None:
        return None

    def solution(self) -> dict[str, float] | list[float] | None:
        return None

    def value(self) -> float | None:
        return None

    def state(self) -> dict[str, Tensor]:
        return dict(self._model.state_dict())

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        copy_state(self.state(), state)

    def data(self) -> Json | None:
        return self._dataset.facts

    def examine(self) -> Json | None:
        return None if self._dataset.in_time else examined(self._dataset)

    def metadata(self) -> dict[str, str]:
        return self._metadata | data_metadata(self._dataset)


class _InRow:
    """A model's parameters and their gradients as one row each; part of `WrittenOut`.

    Attributes:
        weights, gradients: parts of the rows by the parameters' names.
    """

    def __init__(self, model: LayeredModel) -> None:
        """Put the model's parameters into a row."""
        parameters = dict(model.named_parameters())
        first = next(iter(parameters.values()))
        shapes = [parameter.shape for parameter in parameters.values()]
        self.packing = packing_of(shapes, first.element_size())
        self.row, self.gradient = first.new_zeros(2, self.packing.width).detach()
        self.weights, self.gradients = (
            dict(zip(parameters, self.packing.of_one(row), strict=True))
            for row in (self.row, self.gradient)
        )
        for name, parameter in parameters.items():
            parameter.data = self.weights[name].copy_(parameter.detach())


class _WrittenOut(_InRow):
    """Satisfies `core.train.problems.base.WrittenOut`."""

    def __init__(
        self,
        problem: SupervisedProblem,
        model: LayeredModel,
        perceptron: Perceptron,
        loss: LossFunction,
    ) -> None:
        super().__init__(model)
        self._batch = problem.batch
        self._gradient = PerceptronGradient(
            perceptron,
            loss,
            self.weights,
            self.gradients,
            problem.rows_per_batch,
            same_rows=problem.same_rows,
        )
        self.backward = self._gradient.backward
        self.complete = self._gradient.complete

    def loss(self, step: int) -> Tensor:
        return self._gradient.forward(*self._batch(step))


class _Recorded(_InRow):
    """Gradients by automatic differentiation, put into a row, so that an update is of one row.
    Satisfies `core.train.problems.base.WrittenOut`."""

    complete = False

    def __init__(self, problem: SupervisedProblem, model: LayeredModel) -> None:
        super().__init__(model)
        self._problem = problem
        self._parameters = problem.parameters()
        self._into = list(self.gradients.values())
        self._loss: Tensor | None = None

    def loss(self, step: int) -> Tensor:
        with torch.enable_grad():
            self._loss = self._problem.loss(step)
        return self._loss.detach()

    def backward(self) -> None:
        assert self._loss is not None
        torch._foreach_copy_(self._into, torch.autograd.grad(self._loss, self._parameters))
        self._loss = None


def build_supervised_problem(
    spec: OfData,
    batch_size: int | Literal["full"] | None,
    *,
    seed: int,
    device: torch.device,
    dtype: torch.dtype,
    metadata: dict[str, str],
    metrics: tuple[EvaluationMetric, ...] | None = None,
    micro_batches: int = 1,
    autocast: bool = False,
) -> SupervisedProblem:
    """Return the problem of a resolved spec: data loaded, model initialized from `seed`."""
    dataset, ignored = data_of(spec, device, dtype)
    assert spec.loss is not None
    loss = settled_loss(spec.loss, dataset.train_targets, dataset.num_outputs)
    model = model_of(spec, seed=seed, device=device, dtype=dtype, ignored=ignored)
    batches = Batches(
        dataset.train_features,
        dataset.train_targets,
        order=spec.data.order,
        batch_size=batch_size,
        drop_last=spec.data.drop_last,
        seed=seed,
    )
    return SupervisedProblem(
        model,
        dataset,
        batches,
        loss,
        seed=seed,
        metadata=metadata,
        metrics=chosen_of(metrics, values=dataset.form == "values"),
        ignored_class=loss.ignore_index if isinstance(loss, CrossEntropy) else None,
        micro_batches=micro_batches,
        autocast=autocast,
        augment=augment_of(spec, dataset),
    )


class _Accumulated(torch.autograd.Function):
    """The sum of losses, each of which is computed, differentiated and freed before the next."""

    @staticmethod
    def forward(ctx: Any, losses: Callable[[], Iterator[Tensor]], *parameters: Tensor) -> Tensor:
        total: Tensor | None = None
        sums: list[Tensor | None] = [None] * len(parameters)
        with torch.enable_grad():
            for loss in losses():
                found = torch.autograd.grad(loss, parameters, allow_unused=True)
                total = loss.detach() if total is None else total + loss.detach()
                for place, gradient in enumerate(found):
                    before = sums[place]
                    if gradient is not None:
                        sums[place] = gradient if before is None else before + gradient
        ctx.sums = sums
        assert total is not None, "a batch has rows"
        return total

    @staticmethod
    def backward(ctx: Any, *of: Tensor) -> Any:
        (factor,) = of
        return None, *(None if each is None else each * factor for each in ctx.sums)


def dropout_masks(model: LayeredModel, features: Tensor) -> list[Tensor]:
    """Draw what layers of dropout draw for all these rows in one pass, to the bit: from the default
    generator, 0 or 1/(1 − p)."""
    return [
        functional.dropout(features.new_ones(len(features), *placed.output), placed.layer.p)
        for placed in model.layers.all_layers
        if isinstance(placed.layer, Dropout) and placed.layer.p > 0.0
    ]


def _autocast(model: LayeredModel) -> Forward:
    """Return the forward pass in bfloat16, as torch.autocast has it, with outputs in float32."""
    device = next(model.parameters()).device.type

    def forward(x: Tensor, masks: Sequence[Tensor] | None = None) -> Tensor:
        with torch.autocast(device, torch.bfloat16):
            return model.forward(x, masks).float()

    return forward


def augment_of(spec: OfData, dataset: Dataset) -> Augment | None:
    """Return what changes the problem's batches; None: nothing does."""
    augment = spec.data.augment
    return Augment(augment, problem_shape(spec).sample_shape, dataset) if augment else None


def loss_function(loss: Loss, dataset: Dataset) -> LossFunction:
    """Return the settled loss as a function of outputs and targets of this data set."""
    function = build_loss(loss)
    return function if dataset.num_tokens is None else TokenLoss(function)


def data_of(spec: OfData, device: torch.device, dtype: torch.dtype) -> tuple[Dataset, list[int]]:
    """Return the problem's data set, and the features that its model ignores.

    A feature that never changes is a constant that a norm of the batch after the first map takes
    away again: the gradient of its weights is rounding errors. There it is read as 0, and its
    weights are to be 0, so that the weights give the same for the features as they are.
    """
    dataset = build_data(spec, device, dtype)
    if not layers_of(spec).centered:
        return dataset, []
    ignored = constant_columns(dataset)
    return (without_columns(dataset, ignored), ignored) if ignored else (dataset, [])


def data_metadata(dataset: Dataset) -> dict[str, str]:
    """Return what use of the weights needs to know of the data, as JSON texts."""
    found: dict[str, str] = {"feature_names": json.dumps(dataset.feature_names)}
    if dataset.class_names is not None:
        found["class_names"] = json.dumps(dataset.class_names)
    if dataset.mean is not None and dataset.scale is not None:
        found["standardization"] = json.dumps(
            {"mean": dataset.mean.tolist(), "scale": dataset.scale.tolist()}
        )
    if dataset.target_mean is not None and dataset.target_scale is not None:
        found["target_standardization"] = json.dumps(
            {"mean": dataset.target_mean.tolist(), "scale": dataset.target_scale.tolist()}
        )
    if dataset.tokenizer is not None:
        found["tokenizer"] = json.dumps(dataset.tokenizer)
    if dataset.preprocessing is not None:
        found["preprocessing"] = json.dumps(dataset.preprocessing)
    return found


def default_generator(device: torch.device) -> torch.Generator:
    """Return the generator that torch draws from on `device` when none is given."""
    if device.type == "cuda":
        index = device.index or 0
        return torch.cuda.default_generators[index]
    return torch.default_generator
