"""Training, from a spec to an ending: the one entry point is `run`."""

from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter

import torch

from core.artifacts.base import JobArtifacts
from core.errors import is_out_of_memory, out_of_memory
from core.jobs import Outcome
from core.messages.parts import Kind
from core.messages.reports import DataLoaded, Ending, Intervened, PhaseBegun, Restarted
from core.specs.direction import sign_of_job
from core.specs.job import JobSpec
from core.specs.sizes.extent import first_steps, history_widths, start_of
from core.train.checkpoint.resume import resume_point
from core.train.checkpoint.snapshot import Snapshot, starting_point
from core.train.checkpoint.writer import ArtifactWriter, WriterThreads
from core.train.devices import GpuUse, exact_kernels, memory_kept, pick_device, use_threads_for
from core.train.divergence_policy import DivergencePolicy, policy_of
from core.train.events import CheckpointRequests, Control, Emit, RunEvent
from core.train.finalize import conclude, hand_over
from core.train.guarded_descent import GuardedDescent
from core.train.history.buffer import RowBuffer
from core.train.history.flush import Clock, Flusher
from core.train.history.metrics import Metrics
from core.train.history.row_check import EachRow, RowBlock, RowCheck
from core.train.periodic import BLOCK_STEPS, BlockSize, PeriodicWork, RunParts
from core.train.problems.base import Problem
from core.train.problems.build import build_problem
from core.train.state import OptimizationState
from core.train.stopping import evaluation_rules_of, rules_of


def descend(descent: OptimizationState, steps: Iterable[int], watch: RowCheck) -> None:
    """Descend by gradients. Row k is step k's loss, rate and gradient norm, before update k + 1."""
    problem, scheduler = descent.problem, descent.scheduler
    for step in steps:
        descent.clear_gradients()
        loss = descent.loss(step)
        if watch.ends_at_loss(step, loss):
            break
        descent.backward(loss)
        norm = descent.gradient_norm()
        if watch.ends_at_row(norm, descent.gradient_cosine(norm)):
            break
        if descent.clip is not None:
            descent.clip(norm)
        descent.update(step, loss)
        problem.after_update()
        if scheduler is not None:
            scheduler.step(watch.loss)


def run(
    spec: JobSpec,
    *,
    artifacts: JobArtifacts,
    emit: Emit[RunEvent],
    control: Control,
    resume: bool = False,
    stored_rows: Mapping[Kind, int] | None = None,
    device: str | None = None,
    block_size: int | None = None,
    stop_step: int | None = None,
    asked: CheckpointRequests | None = None,
    clock: Clock = perf_counter,
    threads: WriterThreads | None = None,
) -> Ending:
    """Train what the resolved `spec` describes, to its end or until `control` asks to stop.

    Rows, progress and checkpoints leave through `emit`; the weights are in `artifacts` when
    this returns. The settings that torch had in this process come back at the end.

    Args:
        resume: go on after the latest usable resume checkpoint; without any, from the beginning
            (a `start_from` is one: its checkpoint has been copied here).
        stored_rows: rows of the histories `train` and `eval` that have arrived where `emit`
            leads: a checkpoint that presumes more is not used. Left out: all of them.
        device: where to train; left out, `spec.device` decides.
        block_size: steps between two looks at the rows; left out, 1 on a CPU and up to
            `BLOCK_STEPS` on a GPU. It never changes a result.
        stop_step: after so many updates, a run that has not ended is handed over.
        asked: checkpoints to keep on the way. threads: write the files; left out, its own.

    Raises:
        ArtifactError: the weights cannot be written.
        JobFailure: no such device, out of memory, data that does not load.
    """
    with exact_kernels(), memory_kept(), _memory_failures():
        emit(PhaseBegun("preparing"))
        where = pick_device(device or spec.device)
        problem = _built(spec, where, emit)
        descent = OptimizationState(spec, problem)
        snapshot = _resumed(artifacts, spec, str(where), stored_rows, emit) if resume else None
        if snapshot is None and spec.start_from is not None:
            snapshot = starting_point(artifacts, spec, str(where))
        with ArtifactWriter(artifacts, spec, problem.metadata(), threads) as saver:
            ledger = _begun_ledger(spec, problem, snapshot)
            reporter = Flusher(emit, ledger, saver, clock, GpuUse(where, clock).look)
            guard = policy_of(spec)
            course = PeriodicWork(
                spec, descent, ledger, saver, reporter, control, clock, guard, stop_step, asked
            )
            parts = RunParts(descent, ledger, saver, reporter, course, emit)
            if snapshot is not None:
                _go_on_from(snapshot, parts, guard)
            if course.step == start_of(spec):
                saver.save_model("initial", course.step, descent.moment().weights, {})
            emit(PhaseBegun("training"))
            outcome = _descend(parts, guard, block_size)
            leaves = outcome is None and course.reason == "handed_over"
            return hand_over(parts) if leaves else conclude(parts, outcome)


def _built(spec: JobSpec, where: torch.device, emit: Emit[RunEvent]) -> Problem:
    """Build the problem, tell of its data, and set the threads that it wants."""
    problem = build_problem(spec, where, _DTYPES[spec.precision or "float32"])
    if (data := problem.data()) is not None:
        emit(DataLoaded(data, problem.examine() if spec.diagnose != "off" else None))
    use_threads_for(problem, spec.threads)
    return problem


def _resumed(
    artifacts: JobArtifacts,
    spec: JobSpec,
    device: str,
    stored_rows: Mapping[Kind, int] | None,
    emit: Emit[RunEvent],
) -> Snapshot | None:
    """Read the latest usable checkpoint; what could not be read is told through `emit`."""
    point = resume_point(artifacts, spec, device, stored_rows)
    if (detail := point.told(start_of(spec))) is not None:
        emit(Restarted(detail))
    return point.snapshot


def _go_on_from(snapshot: Snapshot, parts: RunParts, guard: DivergencePolicy | None) -> None:
    if guard is not None:
        guard.resume(snapshot.guard, snapshot.good)
        parts.emit(Intervened(guard.interventions, None, ()))
    parts.descent.go_back_to(snapshot.moment)
    parts.ledger.resume(snapshot)
    parts.course.resume(snapshot)


def _descend(
    parts: RunParts, guard: DivergencePolicy | None, block_size: int | None
) -> Outcome | None:
    """Take the steps. Returns what the row showed that ended the run; None: no row did."""
    descent, ledger, reporter, course = parts.descent, parts.ledger, parts.reporter, parts.course
    if guard is not None:
        each = EachRow(descent, ledger, reporter.row_entered)
        with descent.below_autograd():
            GuardedDescent(guard, parts).descend(each)
        return each.outcome
    watch, steps = watching(descent, ledger, reporter, course, block_size)
    with descent.below_autograd():
        descend(descent, steps, watch)
        steps.close()
    return watch.outcome


_DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.float32,
}


def new_ledger(spec: JobSpec, problem: Problem) -> Metrics:
    """Make an empty ledger for the histories that the spec asks for."""
    point = problem.point()
    dim = None if point is None else point.numel()
    record, first = spec.record, first_steps(spec)["train"]
    rows = RowBuffer(record.every, dim, first, with_cosine=record.gradient_cosine)
    evaluates = bool(history_widths(spec)["eval"])
    rules, judging = rules_of(spec.stop, sign_of_job(spec)), evaluation_rules_of(spec)
    return Metrics(rows, rules, judging, best_by_evaluation=evaluates)


def _begun_ledger(spec: JobSpec, problem: Problem, snapshot: Snapshot | None) -> Metrics:
    """Make a ledger that knows the initial loss, of the problem's weights, which are still the
    initial ones, unless the snapshot says it (one of an older version does not)."""
    ledger = new_ledger(spec, problem)
    if snapshot is None or snapshot.ledger.get("initial_loss") is None:
        ledger.begin(problem.initial_loss())
    return ledger


def watching(
    descent: OptimizationState,
    ledger: Metrics,
    reporter: Flusher,
    course: PeriodicWork,
    block_size: int | None,
) -> tuple[RowCheck, Generator[int]]:
    """Choose how the rows are looked at, and the steps that go with it.

    A step that needs its own loss (LBFGS, reduce_on_plateau) is looked at one by one on a GPU
    too, which then waits once a step.
    """
    on_gpu = next(iter(descent.weights.values())).is_cuda
    size = block_size or (BLOCK_STEPS if on_gpu else 1)
    if size == 1 or descent.needs_loss:
        return EachRow(descent, ledger, reporter.row_entered), course.rows()
    keeps = not ledger.best_by_evaluation
    watch = RowBlock(descent, ledger, reporter.row_entered, size, keep_weights=keeps)
    return watch, course.blocks(watch, BlockSize(watch.size, fixed=block_size is not None))


@contextmanager
def _memory_failures() -> Iterator[None]:
    """Turn every way of running out of memory into the published failure."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise out_of_memory() from error
        raise
