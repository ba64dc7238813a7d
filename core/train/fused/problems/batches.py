"""Draws of a stack's runs at each step: rows of the data, and dropout masks."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from core.specs.data import Shuffled
from core.specs.job import DataProblem, JobSpec
from core.train.data.augment import Augment
from core.train.data.batches import Batch, Batches
from core.train.data.dataset import Dataset
from core.train.determinism import key

Index = np.ndarray[Any, Any]

ALIGNED: Final = 16
"""Rows come in multiples of this, so that the matrices of every run begin at a multiple of 64
bytes: a product's last bits depend on where its matrices lie, and a run must not see its place
among the others (see `compaction`)."""


class _Seeds(NamedTuple):
    """Seeds of the order of a run's rows, and of how they are changed."""

    order: int
    augment: int


class StackedBatches:
    """Each run's batch; runs that share a seed share it, and its cost.

    Attributes:
        same_in_all: all runs have the same batch in each step, ended ones included.
    """

    def __init__(
        self,
        specs: Sequence[JobSpec],
        dataset: Dataset,
        augment: Augment | None = None,
        whole: Sequence[JobSpec] | None = None,
    ) -> None:
        """Take batches of one data set; `augment` changes them. `whole`: all runs of the stack that
        the specs' are a part of."""
        self._dataset = dataset
        self._augment = augment
        self._by_seed: dict[_Seeds, Batches] = {}
        self._seeds: list[_Seeds] = []
        self._whole: Tensor | None = None
        for spec in specs:
            assert isinstance(spec.problem, DataProblem)
            seeds = _seeds_of(spec, augment)
            self._seeds.append(seeds)
            if seeds not in self._by_seed:
                self._by_seed[seeds] = Batches(
                    dataset.train_features,
                    dataset.train_targets,
                    order=spec.problem.data.order,
                    batch_size=spec.batch_size,
                    drop_last=spec.problem.data.drop_last,
                    seed=seeds.order,
                )
        first = next(iter(self._by_seed.values()))
        self.steps_per_epoch = first.steps_per_epoch
        self.rows_per_batch = first.rows_per_batch
        self.covers_all = first.covers_all
        seeds_of_all = {_seeds_of(spec, augment) for spec in whole or specs}
        self.same_in_all = len(seeds_of_all) == 1 or (first.whole and augment is None)
        self._choose()

    def compact(self, kept: Index) -> None:
        self._seeds = [self._seeds[slot] for slot in kept]
        self._choose()

    def _choose(self) -> None:
        distinct = list(dict.fromkeys(self._seeds))
        self._distinct_seeds = distinct
        self._distinct = [self._by_seed[seed] for seed in distinct]
        places = {seed: place for place, seed in enumerate(distinct)}
        device = self._dataset.train_features.device
        self._slots = torch.tensor([places[seed] for seed in self._seeds], device=device)

    def at(self, step: int) -> Batch:
        """Return the features (runs, padded rows, inputs) and targets (runs, rows, …) of `step`.

        The features have more rows than the batch where its number is no multiple of `ALIGNED`:
        the first row again, which is to be cut off from the outputs.
        """
        runs = len(self._seeds)
        if self._augment is not None:
            return self._augmented(self._augment, step, runs)
        rows = [batches.rows(step) for batches in self._distinct]
        if rows[0] is None:
            if self._whole is None:
                self._whole = padded(self._dataset.train_features)
            return shared(self._whole, runs), shared(self._dataset.train_targets, runs)
        indices = [index for index in rows if index is not None]
        if len(indices) == 1:
            features, targets = self._gathered(indices[0])
            return shared(features, runs), shared(targets, runs)
        chosen = torch.stack(indices)
        if len(indices) < runs:
            chosen = chosen.index_select(0, self._slots)
        targets = self._dataset.train_targets.index_select(0, chosen.view(-1))
        targets = targets.view(*chosen.shape, *targets.shape[1:])
        missing = -chosen.shape[1] % ALIGNED
        if missing:
            chosen = torch.cat([chosen, chosen[:, :1].expand(-1, missing)], 1)
        features = self._dataset.train_features.index_select(0, chosen.view(-1))
        return features.view(*chosen.shape, -1), targets

    def _gathered(self, rows: Tensor) -> Batch:
        """Return the padded features and the targets of one batch."""
        features = self._dataset.train_features.index_select(0, rows).flatten(1)
        return padded(features), self._dataset.train_targets.index_select(0, rows)

    def _augmented(self, augment: Augment, step: int, runs: int) -> Batch:
        """Return the same of changed rows, each distinct batch changed as the run alone does."""
        features, targets = [], []
        for seeds, batches in zip(self._distinct_seeds, self._distinct, strict=True):
            rows = batches.rows(step)
            x, y = self._dataset.train_features, self._dataset.train_targets
            if rows is not None:
                x, y = x.index_select(0, rows), y.index_select(0, rows)
            features.append(padded(augment.at(x, seeds.augment, step)))
            targets.append(y)
        if len(features) == 1:
            return shared(features[0], runs), shared(targets[0], runs)
        x, y = torch.stack(features), torch.stack(targets)
        if len(features) == runs:
            return x, y
        return x.index_select(0, self._slots), y.index_select(0, self._slots)


def padded(features: Tensor) -> Tensor:
    """Return the rows up to the next multiple of `ALIGNED`, the first one again."""
    missing = -len(features) % ALIGNED
    return torch.cat([features, features[:1].expand(missing, -1)]) if missing else features


def shared(tensor: Tensor, runs: int) -> Tensor:
    """Return the same for all runs, without copies."""
    return tensor.unsqueeze(0).expand(runs, *tensor.shape)


def _seeds_of(spec: JobSpec, augment: Augment | None) -> _Seeds:
    """Return the seeds of a run; 0 for what its batches do not depend on."""
    assert isinstance(spec.problem, DataProblem)
    shuffled = isinstance(spec.problem.data.order, Shuffled)
    return _Seeds(spec.seed if shuffled else 0, 0 if augment is None else spec.seed)


class DropoutMasks:
    """The masks that torch's dropout draws in a run alone, after the same reseeding."""

    def __init__(
        self,
        specs: Sequence[JobSpec],
        rates: Sequence[tuple[float, ...]],
        shapes: Sequence[tuple[int, ...]],
        like: Tensor,
        default: torch.Generator,
    ) -> None:
        """Take as `rates` each run's probabilities, one a layer that leaves numbers out, and as
        `shapes` what of a row these layers get; `like` has the device and dtype of the masks."""
        self._keys = [(spec.seed, rate) for spec, rate in zip(specs, rates, strict=True)]
        self._shapes = shapes
        self._like = like
        self._default = default
        self._choose()

    def compact(self, kept: Index) -> None:
        self._keys = [self._keys[slot] for slot in kept]
        self._choose()

    def _choose(self) -> None:
        self._distinct = list(dict.fromkeys(self._keys))
        places = {key: place for place, key in enumerate(self._distinct)}
        self._slots = torch.tensor([places[k] for k in self._keys], device=self._like.device)

    def at(self, step: int, rows: int) -> list[Tensor]:
        """Draw one mask a layer: (runs, padded rows, …)."""
        ones = [self._like.new_ones((rows, *shape)) for shape in self._shapes]
        drawn: list[list[Tensor]] = [[] for _ in self._shapes]
        for seed, rates in self._distinct:
            self._default.manual_seed(key(seed, "dropout", step))
            for layer, (one, rate) in enumerate(zip(ones, rates, strict=True)):
                drawn[layer].append(functional.dropout(one, rate) if rate else one)
        missing = -rows % ALIGNED
        stacked = [
            functional.pad(torch.stack(m), (*(0, 0) * (m[0].dim() - 1), 0, missing), value=1.0)
            for m in drawn
        ]
        if len(self._distinct) == len(self._keys):
            return stacked
        return [masks.index_select(0, self._slots) for masks in stacked]
