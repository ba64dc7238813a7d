"""The runs of configurations, and the tasks that train them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, assert_never

from core.specs.base import Json
from core.specs.job import DataProblem, FunctionProblem, JobSpec
from core.specs.sizes.fusing import CPU_STACK_BYTES, GPU_STACK_BYTES, stacks
from core.store.history.layout import layouts_of
from core.store.protocols.types import NewRun
from core.studies import RunRecord, StudyRecord, TaskRecord

MODELS_A_TASK: Final = 32
"""Models of a task for a CPU, so that a study's tasks keep several workers busy. It costs little
where there is one: of the digits MLP (64-64-10, batch 64) a step of one run among 64 took 66 µs,
among 32 took 68, among 16 took 84 (a busy machine)."""
POINTS_A_TASK: Final = 512
"""Points of a function in a task, as `MODELS_A_TASK`: a step's cost is mostly the same for all of
them together."""


@dataclass(frozen=True)
class Configuration:
    """A configuration that is trained: its parameters and the spec of its first run."""

    number: int
    params: Json
    spec: JobSpec
    is_enqueued: bool = False


def new_runs(
    configurations: Sequence[Configuration], repeats: int, bracket: int | None = None
) -> list[NewRun]:
    """Return all runs of these configurations, in order of index. Those of one repeat share their
    seed, and so their initial weights and the order of their data."""
    found = []
    for each in configurations:
        layouts = layouts_of(each.spec)
        for repeat in range(repeats):
            record = RunRecord(
                index=each.number * repeats + repeat,
                configuration=each.number,
                repeat=repeat,
                seed=each.spec.seed + repeat,
                params=each.params,
                bracket=bracket,
                enqueued=True if each.is_enqueued else None,
            )
            found.append(NewRun(record, layouts))
    return found


def train_tasks(
    study: StudyRecord,
    runs: Sequence[RunRecord],
    specs: Mapping[int, JobSpec],
    stop_step: int | None,
) -> tuple[TaskRecord, ...]:
    """Make the tasks of this round, one a stack; a run that cannot be fused has one of its own.

    Where a stack is cut follows from the specs alone: their `device` says how large one may be, and
    `auto` counts as a CPU, since nobody knows yet which worker it will be.

    Args:
        specs: by configuration.
        stop_step: the rung to which they train; None: to their ends.
    """
    of_runs = [specs[run.configuration] for run in runs]
    on_gpu = of_runs[0].device.startswith("cuda")
    most = GPU_STACK_BYTES if on_gpu else CPU_STACK_BYTES
    max_runs = None if on_gpu else _runs_of_a_task(of_runs[0])
    # The store numbers the plan of a round 0.
    return tuple(
        TaskRecord(
            study_id=study.id,
            round=study.round,
            number=number,
            kind="train",
            runs=tuple(runs[place].index for place in members),
            stop_step=stop_step,
        )
        for number, members in enumerate(stacks(of_runs, max_bytes=most, max_runs=max_runs), 1)
    )


def _runs_of_a_task(spec: JobSpec) -> int:
    match spec.problem:
        case DataProblem():
            return MODELS_A_TASK
        case FunctionProblem():
            return POINTS_A_TASK
        case _:
            assert_never(spec.problem)
