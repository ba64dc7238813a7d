"""Learning from data of many models of one structure on one data set."""

import math
from collections.abc import Callable, Sequence
from math import prod
from typing import Final, TypeVar

import numpy as np
import torch
from torch import Tensor

from core.specs.job import DataProblem, JobSpec, OfData
from core.specs.layers.expand import Expanded, dropout_of
from core.specs.layers.kinds import Dropout
from core.specs.layers.trace import Placed
from core.specs.losses import CrossEntropy, EvaluationMetric, chosen_of
from core.specs.sizes.cost import EVAL_ROWS
from core.specs.sizes.shapes import layers_of
from core.specs.splits.rows import HeldOut
from core.train.fused.models.backward import WrittenOut, written_out
from core.train.fused.models.layered import StackedLayers
from core.train.fused.models.linear import takes_onednn
from core.train.fused.models.losses import stacked_loss
from core.train.fused.models.perceptron import StackedPerceptron
from core.train.fused.problems.base import Index, Metrics, differentiate, keep_slots
from core.train.fused.problems.batches import DropoutMasks, StackedBatches, padded, shared
from core.train.fused.problems.compaction import ANYWHERE, places
from core.train.losses import settled_loss, share_of
from core.train.metrics import Measurement, Table
from core.train.models.layered import LayeredModel
from core.train.problems.model import model_of
from core.train.problems.supervised import (
    augment_of,
    data_metadata,
    data_of,
    default_generator,
    initial_loss,
    loss_function,
)
from core.train.tensors.packing import packing_of

_T = TypeVar("_T")
EVAL_NUMBERS: Final = 2**22
"""Activations of a layer, over all runs, that an evaluation holds at once."""


class StackedSupervised:
    """Problems of a stack that train on data. Satisfies
    `core.train.fused.problems.base.StackedProblem`."""

    def __init__(
        self,
        specs: Sequence[JobSpec],
        device: torch.device,
        dtype: torch.dtype,
        whole: Sequence[JobSpec],
    ) -> None:
        """Compute as the `whole` stack does that the specs are a part of, so that no bit depends on
        how it was cut."""
        problem = problem_of(specs[0])
        if problem.loss is None:
            raise ValueError("the loss must be settled before a problem is built")
        self._specs = list(specs)
        self._dataset, self._ignored = data_of(problem, device, dtype)
        layers = layers_of(problem)
        values = self._dataset.form == "values"
        self._metrics = chosen_of(specs[0].record.metrics, values=values)
        dataset = self._dataset
        self._settled = settled_loss(problem.loss, dataset.train_targets, dataset.num_outputs)
        self._loss = stacked_loss(self._settled)
        self._single_loss = loss_function(self._settled, dataset)
        self._model: StackedPerceptron | StackedLayers
        self._written_out: WrittenOut | None = None
        if layers.perceptron is not None:
            self._model = StackedPerceptron(layers.perceptron)
        else:
            self._model = StackedLayers(layers, device, dtype)
        augment = augment_of(problem, self._dataset)
        self._batches = StackedBatches(specs, self._dataset, augment, whole)
        self._buffers: dict[str, Tensor] = {}
        weights, names = _initial(specs, device, dtype, self._ignored)
        self._parameter_names = names
        shapes = [weights[name].shape[1:] for name in names]
        self.packing = packing_of(shapes, dtype.itemsize)
        self._hold(weights)
        if layers.perceptron is not None:
            one_batch = self._batches.same_in_all and takes_onednn(self.rows)
            self._written_out = written_out(layers.perceptron, self._loss, one_batch=one_batch)
        self._masks = _masks(specs, self.rows)
        self._anywhere = device.type == "cpu" and places(specs[0], shapes, dtype) == ANYWHERE
        """True where a run's numbers are the same wherever it stands."""
        self.num_parameters = sum(shape.numel() for shape in shapes)
        self.steps_per_epoch = self._batches.steps_per_epoch
        self.multiply_adds = len(specs) * layers.multiply_adds * self._batches.rows_per_batch
        numbers = [prod(placed.output) for placed in layers.all_layers[:-1]]
        widest = max(1, prod(layers.input), *numbers)
        self._eval_rows = max(64, min(EVAL_ROWS, EVAL_NUMBERS // (len(whole) * widest)))

    def gradients(self, step: int) -> tuple[Tensor, Tensor]:
        for gap in self._gaps:
            gap.zero_()  # an update may have left anything in the gradient's row
        features, targets = self._batches.at(step)
        masks = None if self._masks is None else self._masks.at(step, targets.shape[1])
        if self._written_out is not None:
            into = self._gradients
            return self._written_out(self.weights, features, masks, targets, into), self._gradient
        self._buffers = {}
        leaves = {name: self.weights[name].detach().requires_grad_() for name in self._gradients}
        outputs = self._model.forward(
            {**self.weights, **leaves}, features, masks, self._buffers, targets.shape[1]
        )
        losses, found = differentiate(
            self._loss(outputs, self._one_a_row(targets)), list(leaves.values())
        )
        for part, gradient in zip(self._gradients.values(), found, strict=True):
            part.copy_(gradient)
        return losses, self._gradient

    def _one_a_row(self, targets: Tensor) -> Tensor:
        """Return targets (runs, rows, …) with each token of a text as a row."""
        return targets if self._dataset.num_tokens is None else targets.flatten(1)

    def commit(self) -> None:
        for name, value in self._buffers.items():
            self.weights[name].copy_(value)

    def after_update(self) -> None:
        return

    def initial_losses(self) -> Index | None:
        if self._batches.covers_all:
            return None
        rates = _of_problems(self._specs, lambda problem: _rates(layers_of(problem)))
        keys = list(zip(_first_weights(self._specs), rates, strict=True))
        known: dict[tuple[str, tuple[float, ...]], float] = {}
        for spec, of in zip(self._specs, keys, strict=True):
            if of not in known:
                model = _model_of(spec, self.rows.device, self.rows.dtype, self._ignored)
                known[of] = initial_loss(model, self._dataset, self._single_loss, spec.seed)
        return np.array([known[of] for of in keys])

    def evaluate(self, slots: Index | None = None, part: HeldOut = "eval") -> Metrics | None:
        rows = self._dataset.rows(part)
        if rows is None:
            return None
        if slots is None:
            return self._evaluated(self.weights, *rows)
        return self._evaluated_apart(self.weights, slots.tolist(), *rows)

    def evaluate_weights(self, weights: dict[str, Tensor], part: HeldOut) -> Metrics | None:
        rows = self._dataset.rows(part)
        if rows is None:
            return None
        count = len(weights[self._parameter_names[0]])
        return self._evaluated_apart(weights, list(range(count)), *rows)

    def _evaluated_apart(
        self, weights: dict[str, Tensor], slots: list[int], features: Tensor, targets: Tensor
    ) -> Metrics:
        """Evaluate these slots of the weights, so that no number depends on the others."""

        def of(some: list[int]) -> Metrics:
            index = torch.tensor(some, device=self.rows.device)
            return self._evaluated(keep_slots(weights, index), features, targets)

        if not self._anywhere:
            each = [of([slot]) for slot in slots]
            return {name: np.concatenate([one[name] for one in each]) for name in each[0]}
        # One run alone would be computed another way than among others: it stands there twice.
        found = of([*slots, slots[-1]])
        return {name: column[:-1] for name, column in found.items()}

    def confusion_matrices(
        self, slots: Index, part: HeldOut = "eval", weights: dict[str, Tensor] | None = None
    ) -> list[Table | None]:
        rows = self._dataset.rows(part)
        asked = [each for each in self._metrics if each.kind == "confusion_matrix"]
        if rows is None or not asked:
            return [None] * len(slots)
        found: list[Table | None] = []
        for slot in slots.tolist():
            index = torch.tensor([slot, slot], device=self.rows.device)
            of_slot = keep_slots(self.weights if weights is None else weights, index)
            _, measured = self.measure(of_slot, *rows, asked)
            found.append(measured.confusion()[0])
        return found

    def _evaluated(self, weights: dict[str, Tensor], features: Tensor, targets: Tensor) -> Metrics:
        losses, measured = self.measure(weights, features, targets, self._metrics)
        return {"loss": losses, **measured.values()}

    def measure(
        self,
        weights: dict[str, Tensor],
        features: Tensor,
        targets: Tensor,
        metrics: Sequence[EvaluationMetric],
    ) -> tuple[Index, Measurement]:
        """Return the mean losses of these rows in evaluation mode, one a run, and what was measured
        of them."""
        runs = len(weights[self._parameter_names[0]])
        loss = self._settled
        ignored = loss.ignore_index if isinstance(loss, CrossEntropy) else None
        total, measured = np.zeros(runs), Measurement(metrics, self._dataset.form, ignored)
        with torch.no_grad():
            for some, wanted in zip(
                torch.split(features, self._eval_rows),
                torch.split(targets, self._eval_rows),
                strict=True,
            ):
                rows, ids = shared(padded(some), runs), shared(wanted, runs)
                outputs = self._model.forward(weights, rows, None, None, len(some))
                # In proportion to the rows, so that the mean of the means is the mean.
                share = share_of(self._single_loss, wanted, targets, math.nan)
                losses = self._loss(outputs, self._one_a_row(ids))
                total += losses.double().cpu().numpy() * share
                in_units = self._dataset.in_units
                tokens = wanted if self._dataset.num_tokens is None else wanted.flatten()
                measured.add(in_units(outputs.transpose(1, 2)), in_units(tokens))
        return total, measured

    def points(self) -> Tensor | None:
        return None

    def values(self) -> Tensor | None:
        return None

    def solution(self, slot: int) -> dict[str, float] | list[float] | None:
        return None

    def compact(self, kept: Index) -> None:
        self._specs = [self._specs[slot] for slot in kept]
        self._batches.compact(kept)
        if self._masks is not None:
            self._masks.compact(kept)
        index = torch.from_numpy(kept).to(self.rows.device)
        self._hold(keep_slots(self.weights, index))

    def metadata(self) -> dict[str, str]:
        return data_metadata(self._dataset)

    def _hold(self, weights: dict[str, Tensor]) -> None:
        first = weights[self._parameter_names[0]]
        self.rows, self._gradient = first.new_zeros((2, len(first), self.packing.width))
        parameters = dict(zip(self._parameter_names, self.packing.views(self.rows), strict=True))
        for name, parameter in parameters.items():
            parameter.copy_(weights[name])
        self.weights = {**weights, **parameters}
        self._gaps = self.packing.gaps(self._gradient)
        views = self.packing.views(self._gradient)
        self._gradients = dict(zip(self._parameter_names, views, strict=True))


def problem_of(spec: JobSpec) -> OfData:
    """Return the spec's problem, which is of data."""
    assert isinstance(spec.problem, DataProblem)
    return spec.problem


def _initial(
    specs: Sequence[JobSpec], device: torch.device, dtype: torch.dtype, ignored: Sequence[int]
) -> tuple[dict[str, Tensor], list[str]]:
    """Return every run's first weights, as the run alone would draw them, and the parameters'
    names."""
    drawn: dict[str, dict[str, Tensor]] = {}
    names: list[str] = []
    keys = _first_weights(specs)
    for spec, key in zip(specs, keys, strict=True):
        if key not in drawn:
            model = _model_of(spec, device, dtype, ignored)
            drawn[key] = dict(model.state_dict())
            names = [name for name, _ in model.named_parameters()]
    stacked = {name: torch.stack([drawn[key][name] for key in keys]) for name in drawn[keys[0]]}
    return stacked, names


def _of_problems(specs: Sequence[JobSpec], what: Callable[[OfData], _T]) -> list[_T]:
    """Return what there is of each spec's problem, looked at once where specs share it."""
    known: dict[int, _T] = {}
    for spec in specs:
        if id(spec.problem) not in known:
            known[id(spec.problem)] = what(problem_of(spec))
    return [known[id(spec.problem)] for spec in specs]


def _first_weights(specs: Sequence[JobSpec]) -> list[str]:
    """Return a text a spec that is the same for runs with the same first weights."""
    models = _of_problems(specs, lambda problem: problem.model)
    drawn = _of_problems(specs, lambda problem: problem.model.init.model_dump_json())
    return [
        f"{spec.seed} {init}" if model.initial_weights is None else model.initial_weights
        for spec, model, init in zip(specs, models, drawn, strict=True)
    ]


def _model_of(
    spec: JobSpec, device: torch.device, dtype: torch.dtype, ignored: Sequence[int]
) -> LayeredModel:
    """Return the model of a run alone, at its first weights."""
    return model_of(problem_of(spec), seed=spec.seed, device=device, dtype=dtype, ignored=ignored)


def _masks(specs: Sequence[JobSpec], like: Tensor) -> DropoutMasks | None:
    models = _of_problems(specs, layers_of)
    rates = [_rates(layers) for layers in models]
    if not any(map(any, rates)):
        return None
    first = models[0]
    if first.perceptron is not None:
        shapes = [hidden.linear.output for hidden in first.perceptron.hidden]
    else:
        shapes = [placed.output for placed in _dropouts(first)]
    default = default_generator(like.device)
    return DropoutMasks(specs, rates, shapes, like.detach(), default)


def _rates(layers: Expanded) -> tuple[float, ...]:
    """Return the probabilities of dropout: of a perceptron one a hidden layer, be it 0."""
    if layers.perceptron is not None:
        hidden = [each.dropout for each in layers.perceptron.hidden]
        return tuple(0.0 if placed is None else dropout_of(placed.layer) for placed in hidden)
    return tuple(dropout_of(placed.layer) for placed in _dropouts(layers))


def _dropouts(layers: Expanded) -> list[Placed]:
    found = [placed for placed in layers.all_layers if isinstance(placed.layer, Dropout)]
    return [placed for placed in found if dropout_of(placed.layer)]
