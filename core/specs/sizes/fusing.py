"""Choice of the runs that may share a stack, and of how many fit: from the specs alone, without
torch."""

from collections.abc import Hashable, Sequence
from operator import itemgetter
from typing import Any, Final

from core.specs.data import Inline
from core.specs.job import (
    ClipAdaptive,
    ClipNorm,
    ClipPerParameter,
    DataProblem,
    JobSpec,
    StopOnDivergence,
)
from core.specs.layers.expand import Expanded, dropout_of
from core.specs.layers.kinds import LSTM, Dropout
from core.specs.losses import gathers
from core.specs.optimizers.kinds import Muon, NotFused, ScheduleFree
from core.specs.optimizers.state import state_vectors
from core.specs.sizes.cost import memory_parts, threads_of
from core.specs.sizes.extent import Extent, Extents, extent_of, steps_of

COMMON: Final = frozenset({"kind", "ns_steps", "adjust_lr_fn"})
"""Options that all runs of an optimizer in a stack have in common, beside its booleans."""
MUON_SCRATCH: Final = 2
"""Vectors of the parameters' size that Muon works with beyond the others: it moves whole stacks."""
CPU_STACK_BYTES: Final = 40 * 2**20
"""Memory of a stack on a CPU when nothing else is said. Larger ones are slower: 512 runs of a
9,000-parameter network in one stack took five times as long a run as 64 in each (they outgrow the
third cache, and the allocator gives its memory back to the system at each step)."""
GPU_STACK_BYTES: Final = 8 * 2**30
FEW: Final = 4
LARGE_STACK_BYTES: Final = 512 * 2**20
"""A stack has at least `FEW` runs, as long as these take no more than `LARGE_STACK_BYTES`. Models
that leave room for fewer in `CPU_STACK_BYTES` are too large for a cache in any case, and several at
once give both cores work (see `core.train.determinism`). An MLP of 3 x 512 with batches of 256, ms
a step of one of 8 runs on 2 cores: one after another 15.8 (two threads: 13.5); in stacks of 2 with
two threads 10.4, of 4 8.4, of 8 8.4; in two processes with one thread each 8.1."""
MOST_PARAMETERS: Final = 2**18
"""Most parameters of a model that is no perceptron and trains in a stack."""
MOST_WORK: Final = 2**24
"""Most multiply-adds of a step of one of its runs."""
MOST_KEPT: Final = 3 * 2**19
"""Most numbers that a step of one of its runs keeps."""
FREE: Final = frozenset(
    {
        "labels", "priority", "threads", "max_attempts", "diagnose", "webhook", "checkpoint",
        "seed", "budget", "stop", "schedule", "gradient_clip", "optimizer", "problem",
    }
)  # fmt: skip
"""Fields that may differ between the runs of a stack, or are looked at one by one below."""


def fusable(spec: JobSpec, size: Extent | None = None) -> bool:
    """Tell whether the run can train in a stack: a model and an optimizer that have a rule for
    many, nothing around it, batches and gradients in one piece, and a run from its origin that a
    divergence ends. A stack does not keep its last gradients to compare the next with, and
    autocast has no effect on it. `size`: of the spec, where it is known."""
    problem, size = spec.problem, size or extent_of(spec)
    if size.layers is not None and not fused_layers(size.layers, _batch_rows(spec, size)):
        return False
    if isinstance(spec.optimizer, NotFused) or spec.record.gradient_cosine:
        return False
    if spec.optimizer.wrap or spec.optimizer.groups:
        return False
    if spec.threads is not None and spec.threads != threads_of(problem, spec.batch_size, size):
        return False
    if spec.accumulate > 1 or spec.precision == "bfloat16":
        return False
    if isinstance(spec.gradient_clip, ClipPerParameter | ClipAdaptive):
        return False
    return spec.start_from is None and isinstance(spec.on_divergence, StopOnDivergence)


def structure_key(spec: JobSpec) -> Hashable | None:
    """Return a key that is equal for resolved specs whose runs may share a stack; None: it trains
    alone.

    The same: problem but for initial weights, start and dropout rate, batch size, precision,
    device, the optimizer's kind, booleans and counts, the kind of clipping, what is recorded. Free
    for each run: the optimizer's numbers, schedule, clip threshold, seed, stop rules, budget.
    """
    return _structure_key(spec, extent_of(spec), {})


_Known = dict[tuple[int, ...], Hashable]
"""Keys of the parts that most specs of a study share, by the ids of these parts."""


def _structure_key(spec: JobSpec, size: Extent, known: _Known) -> Hashable | None:
    if not fusable(spec, size):
        return None
    parts = tuple(map(id, _SAME(vars(spec))))
    if parts not in known:
        known[parts] = spec.model_dump_json(exclude=set(FREE)), _problem_structure(spec, size)
    clip = spec.gradient_clip
    return (
        known[parts],
        clip and (clip.kind, clip.norm_type if isinstance(clip, ClipNorm) else None),
        tuple(
            (name, value)
            for name, value in spec.optimizer
            if name in COMMON or (isinstance(value, bool) and name not in {"foreach", "fused"})
        ),
    )


def _problem_structure(spec: JobSpec, size: Extent) -> Hashable:
    problem = spec.problem
    if isinstance(problem, DataProblem):
        without: Any = {"model": True}
        assert size.layers is not None
        layers = _layer_structure(size.layers)
        if not isinstance(problem.data, Inline):
            return problem.model_dump_json(exclude=without), layers
        without["data"] = {"features", "targets"}
        return problem.model_dump_json(exclude=without), layers, problem.data.digest
    return problem.function.model_dump_json(), problem.bounds is not None


def _layer_structure(layers: Expanded) -> Hashable:
    """Return what runs that share a stack have the same of their layers: all but the probabilities
    of dropout; a perceptron's masks may be ones, so that it may have none at all."""
    if layers.perceptron is not None:
        return tuple(
            (placed.name, placed.layer)
            for placed in layers.all_layers
            if not isinstance(placed.layer, Dropout)
        )
    return tuple(
        (placed.name, placed.layer.p > 0.0 if isinstance(placed.layer, Dropout) else placed.layer)
        for placed in layers.all_layers
    )


def fused_layers(layers: Expanded, rows: int) -> bool:
    """Tell whether runs of a model with these layers, on batches of this size, train in a stack.

    Perceptrons do. Of other models it must be right (dropout within a recurrent layer or of
    attention weights draws for itself) and faster: many small operations become as many larger
    ones, which gains nothing once they are large. torch's own LSTM is faster than one written out
    step by step. docs/figures.md has the table that the bounds are from.
    """
    if layers.perceptron is not None:
        return True
    kinds = {type(placed.layer) for placed in layers.all_layers}
    own_dropout = any(
        dropout_of(placed.layer) and not isinstance(placed.layer, Dropout)
        for placed in layers.all_layers
    )
    return (
        not own_dropout
        and LSTM not in kinds
        and layers.num_parameters <= MOST_PARAMETERS
        and layers.multiply_adds * rows <= MOST_WORK
        and layers.kept * rows <= MOST_KEPT
    )


_SAME: Final = itemgetter("problem", *(name for name in JobSpec.model_fields if name not in FREE))
_ALL_BUT_SEED: Final = itemgetter(*(name for name in JobSpec.model_fields if name != "seed"))


def groups(specs: Sequence[JobSpec]) -> list[list[int]]:
    """Return the specs' numbers by stack, each in order and the stacks by their first; a run that
    cannot be fused is a group of its own."""
    found: dict[Hashable, list[int]] = {}
    keys: dict[tuple[int, ...], Hashable | None] = {}  # repeats share all but their seed
    extents = Extents()
    known: _Known = {}
    for number, spec in enumerate(specs):
        parts = tuple(map(id, _ALL_BUT_SEED(vars(spec))))
        if parts not in keys:
            keys[parts] = _structure_key(spec, extents.of(spec), known)
        key = keys[parts]
        found.setdefault(number if key is None else key, []).append(number)
    return list(found.values())


def bytes_per_run(spec: JobSpec) -> int:
    """Return the memory that one run adds to a stack, an estimate from above: weights with
    gradients (those of models as they are found, and packed), the initial and the best ones and a
    candidate, optimizer state, activations with their gradients."""
    size = extent_of(spec)
    steps = steps_of(spec.budget, size)
    item = 8 if spec.precision == "float64" else 4
    vectors = 6 + isinstance(spec.problem, DataProblem) + state_vectors(spec.optimizer, steps)
    if isinstance(spec.optimizer, Muon):
        vectors += MUON_SCRATCH
    if isinstance(spec.optimizer, ScheduleFree):
        vectors += 1  # the parameters, while evaluations take their place
    weights = vectors * item * size.num_parameters
    if not isinstance(spec.problem, DataProblem):
        return weights + memory_parts(spec, size, steps)["problem.function"]
    assert size.layers is not None
    batch = _batch_rows(spec, size)
    kept = size.layers.kept + 2 * size.num_outputs  # the losses', too
    held_out = max(size.eval_rows, size.test_rows)
    gathered = item * held_out * size.num_outputs if gathers(spec.record.metrics) else 0
    return weights + 3 * item * batch * kept // 2 + gathered


def _batch_rows(spec: JobSpec, size: Extent) -> int:
    return spec.batch_size if isinstance(spec.batch_size, int) else size.train_rows


def stacks(
    specs: Sequence[JobSpec],
    *,
    max_runs: int | None = None,
    max_bytes: int = CPU_STACK_BYTES,
    least: int = FEW,
) -> list[list[int]]:
    """Cut `groups` so that none has more than `max_runs` runs or is estimated to take more than
    `max_bytes` (more than `LARGE_STACK_BYTES`, where it has no more than `least` runs); the parts
    of a group differ by one run at most."""
    found: list[list[int]] = []
    for group in groups(specs):
        each = max(bytes_per_run(specs[group[0]]), 1)
        most = max(1, max_bytes // each, min(least, LARGE_STACK_BYTES // each))
        most = min(most, max_runs or most)
        parts = -(-len(group) // most)
        found += [group[part::parts] for part in range(parts)]
    return found
