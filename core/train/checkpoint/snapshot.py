"""Resume checkpoints: all that the next step depends on, as safetensors with JSON, never pickle."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from pydantic_core import to_json
from torch import Tensor

from core.artifacts.base import JobArtifacts
from core.errors import ArtifactError, JobFailure, NotFoundError
from core.formats import RESUME, STORE, as_written, check_file, format_in, is_current
from core.messages.parts import Kind
from core.specs.base import Json
from core.specs.job import JobSpec
from core.specs.parsing.continuation import FREE
from core.specs.sizes.cost import threads_of
from core.specs.sizes.extent import extent_of
from core.train.state import StateCopy
from core.train.tensors.tensor_file import contents, joined, parse, pieces
from core.train.tensors.tree import flatten, map_tensors, unflatten

FOLDER: Final = "checkpoints"
KEPT: Final = "kept"


@dataclass(frozen=True)
class Snapshot:
    """A run between two steps. Its tensors do not change, unless its maker says so.

    Attributes:
        step: updates applied. moment: weights, optimizer, schedule. ledger: `Metrics.state()`.
        best, best_weights, candidate_weights: `Best.state()`. elapsed_s: training time so far.
        guard, good: `DivergencePolicy.state()`, and the snapshot that it may go back to (whose own
        are None);
            None where there is no guard.
    """

    step: int
    moment: StateCopy
    ledger: Json
    best: Json
    best_weights: list[Tensor]
    candidate_weights: list[Tensor]
    elapsed_s: float
    guard: Json | None = None
    good: "Snapshot | None" = None

    @property
    def name(self) -> str:
        """The artifact's name."""
        return step_name(self.step)

    @cached_property
    def size_bytes(self) -> int:
        """Bytes of all tensors."""
        sizes: list[int] = []

        def measure(tensor: Tensor) -> Tensor:
            sizes.append(tensor.numel() * tensor.element_size())
            return tensor

        moment = self.moment
        map_tensors(
            [
                moment.weights,
                moment.optimizer,
                moment.gradient,
                self.best_weights,
                self.candidate_weights,
            ],
            measure,
        )
        return sum(sizes) + (0 if self.good is None else self.good.size_bytes)

    @property
    def on_host(self) -> bool:
        """Tell whether the weights are in the host's own memory."""
        return all(weight.device.type == "cpu" for weight in self.moment.weights.values())

    def num_rows(self, every: int, start: int = 0) -> dict[Kind, int]:
        """Count the recorded rows of each history from step `start` on, before this step."""
        train = -(-self.step // every) + (-start // every)
        return {"train": train, "eval": self.ledger["num_evaluations"]}


def resume_points(artifacts: JobArtifacts) -> list[str]:
    """Return the names of the resume checkpoints that are complete, latest step first.

    Only one whose rows have all arrived may be resumed from (see `core.messages.reports`).
    """
    return latest_first(artifacts.list())


def latest_first(names: Iterable[str]) -> list[str]:
    """Return those of the artifacts' names that are resume checkpoints', latest step first."""
    points = [name for name in names if name.startswith(f"{FOLDER}/step_")]
    return sorted(points, key=step_of, reverse=True)


def step_name(step: int) -> str:
    """Return the artifact's name of the resume checkpoint after `step` updates."""
    return f"{FOLDER}/step_{step}.safetensors"


def kept_name(step: int) -> str:
    """Return the artifact's name of the weights that are kept of this step, because somebody asked
    for them. The resume checkpoint of this step is kept as well."""
    return f"{KEPT}/step_{step}.safetensors"


def kept_step(name: str) -> int | None:
    """Return the step in the name of kept weights; None: it is none."""
    found = name.removeprefix(f"{KEPT}/step_").removesuffix(".safetensors")
    return int(found) if found != name and found.isdigit() else None


def step_of(name: str) -> int:
    """Return the step in a resume checkpoint's name."""
    return int(name.removeprefix(f"{FOLDER}/step_").removesuffix(".safetensors"))


def encode(snapshot: Snapshot, spec_fingerprint: str) -> Iterator[bytes | memoryview]:
    """Return the checkpoint file's bytes; `spec_fingerprint` is `fingerprint(spec)`."""
    tensors: dict[str, Tensor] = {}
    state = _state(snapshot, "", tensors)
    text = json.dumps(state)
    data = {name: contents(tensor) for name, tensor in tensors.items()}
    metadata = {
        "thalweg_resume": str(RESUME),
        "spec": spec_fingerprint,
        "spec_format": str(STORE),
        "state": text,
        "sha256": _digest(text, data),
    }
    return pieces(tensors, metadata, data)


def _state(snapshot: Snapshot, prefix: str, tensors: dict[str, Tensor]) -> Json:
    """Return the JSON of a snapshot; its tensors are put into `tensors` under names with this
    prefix."""
    moment = snapshot.moment
    good = snapshot.good
    return {
        "step": snapshot.step,
        "weights": flatten(moment.weights, f"{prefix}weights/", tensors),
        "optimizer": flatten(moment.optimizer, f"{prefix}optimizer/", tensors),
        "schedule": flatten(moment.schedule, f"{prefix}schedule/", tensors),
        "gradient": flatten(moment.gradient, f"{prefix}gradient", tensors),
        "ledger": snapshot.ledger,
        "best": snapshot.best,
        "best_weights": flatten(snapshot.best_weights, f"{prefix}best/", tensors),
        "candidate_weights": flatten(snapshot.candidate_weights, f"{prefix}candidate/", tensors),
        "elapsed_s": snapshot.elapsed_s,
        "guard": snapshot.guard,
        "good": None if good is None else _state(good, "good/", tensors),
    }


def _digest(state: str, data: Mapping[str, bytes | memoryview]) -> str:
    """Compute the digest of all that a resumed run takes from the file: a flipped bit must not go
    on in a history."""
    found = hashlib.sha256(state.encode())
    for piece in joined(data[name] for name in sorted(data)):
        found.update(piece)
    return found.hexdigest()


def decode(data: bytes, spec: JobSpec, device: str) -> Snapshot:
    """Return the snapshot in a file's bytes, its tensors on `device` where they were on one.

    Raises:
        ArtifactError: damaged, of a newer format, or of another spec.
    """
    tensors, metadata = parse(data)
    if "thalweg_resume" not in metadata:
        raise ArtifactError("no resume checkpoint")
    check_file(metadata["thalweg_resume"], RESUME, "a resume checkpoint")
    written = format_in(metadata.get("spec_format"), "a resume checkpoint of a spec")
    if metadata.get("spec") != fingerprint(spec, written):
        raise ArtifactError("the resume checkpoint belongs to another spec")
    contained = {name: contents(tensor) for name, tensor in tensors.items()}
    if metadata.get("sha256") != _digest(metadata.get("state", ""), contained):
        raise ArtifactError("damaged resume checkpoint: its checksum does not hold")
    try:
        return _snapshot(json.loads(metadata["state"]), tensors, device)
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"damaged resume checkpoint: {error!r}") from error


def _snapshot(state: Json, tensors: Mapping[str, Tensor], device: str) -> Snapshot:
    weights, optimizer, schedule, best, candidate = (
        unflatten(state[part], tensors, device)
        for part in ("weights", "optimizer", "schedule", "best_weights", "candidate_weights")
    )
    return Snapshot(
        state["step"],
        StateCopy(weights, optimizer, schedule, unflatten(state.get("gradient"), tensors, device)),
        state["ledger"],
        state["best"],
        best,
        candidate,
        state["elapsed_s"],
        state.get("guard"),
        None if state.get("good") is None else _snapshot(state["good"], tensors, device),
    )


def fingerprint(spec: JobSpec, written: int = STORE) -> str:
    """Compute a digest of what a run's course depends on, however long it is and wherever it was
    continued.

    `written`: the format of specs by whose version it was first made: fields that came later, and
    have the value that says what was done before, are left out. So is a number of threads that
    follows from the sizes: before there was the field, it did.
    """
    sized = spec.problem, spec.batch_size, extent_of(spec)
    if spec.threads is not None and spec.threads == threads_of(*sized):
        spec = spec.model_copy(update={"threads": None})
    text = spec.model_dump_json(exclude=set(FREE)).encode()
    if not is_current(written):
        text = to_json(as_written(spec.model_dump(mode="json", exclude=set(FREE)), written))
    return hashlib.sha256(text).hexdigest()


# Where a job begins that continues another: a checkpoint of that one, copied to this job's own.
def starting_point(artifacts: JobArtifacts, spec: JobSpec, device: str) -> Snapshot:
    """Return the snapshot that `spec.start_from` names, from this job's copy.

    Raises:
        ArtifactError: the copy cannot be read now.
        JobFailure: it is not there, or damaged. Beginning elsewhere would be another job.
    """
    assert spec.start_from is not None
    try:
        data = artifacts.read(step_name(spec.start_from.step))
    except NotFoundError as error:
        raise _unusable(spec, "is not there") from error
    try:
        return own(decode(data, spec, device), spec)
    except ArtifactError as error:
        raise _unusable(spec, f"cannot be used: {error}") from error


def own(snapshot: Snapshot, spec: JobSpec) -> Snapshot:
    """Return the snapshot with the rows before `spec.start_from` left to the job that they are of.

    An evaluation at that step is repeated: here it is the first one.
    """
    if spec.start_from is None or snapshot.step != spec.start_from.step:
        return snapshot
    fresh = {"loose_row": None, "num_evaluations": 0, "evaluated_step": -1}
    guard = None if snapshot.guard is None else {**snapshot.guard, "interventions": []}
    return replace(snapshot, ledger={**snapshot.ledger, **fresh}, guard=guard, good=None)


def _unusable(spec: JobSpec, what: str) -> JobFailure:
    start = spec.start_from
    assert start is not None
    message = f"the checkpoint of {start.job} at step {start.step}, from which the job starts, "
    return JobFailure("data_unavailable", message + what, "start_from")
