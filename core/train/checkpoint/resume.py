"""The point where an attempt goes on: the latest usable checkpoint, and what to say of the
unreadable."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.artifacts.base import JobArtifacts
from core.errors import ArtifactError
from core.messages.parts import Kind
from core.specs.job import JobSpec
from core.specs.sizes.extent import start_of
from core.train.checkpoint.snapshot import Snapshot, decode, own, resume_points


@dataclass(frozen=True)
class ResumePoint:
    """The snapshot to go on from; None: training begins anew.

    Attributes:
        unreadable: name of each later checkpoint that could not be read, and why, the latest first.
    """

    snapshot: Snapshot | None
    unreadable: tuple[tuple[str, str], ...] = ()

    def told(self, start: int) -> str | None:
        """Return what the record is to say; None where nothing was unreadable.

        `start`: the step at which the run begins when it begins anew.
        """
        step = start if self.snapshot is None else self.snapshot.step
        return told(f"from step {step}", self.unreadable)


def told(where: str, unreadable: Sequence[tuple[str, str]]) -> str | None:
    """Say where the work goes on because checkpoints could not be read; None where all could."""
    if not unreadable:
        return None
    (name, why), *others = unreadable
    more = f", nor {len(others)} earlier" if others else ""
    return f"{where}: {name} cannot be read ({why}){more}"


def resume_point(
    artifacts: JobArtifacts, spec: JobSpec, device: str, stored_rows: Mapping[Kind, int] | None
) -> ResumePoint:
    """Find the latest checkpoint that is whole, of this spec, and not ahead of the stored rows."""
    unreadable: list[tuple[str, str]] = []
    for name in resume_points(artifacts):
        try:
            snapshot = own(decode(artifacts.read(name), spec, device), spec)
        except ArtifactError as error:
            unreadable.append((name, str(error)))
            continue
        rows = snapshot.num_rows(spec.record.every, start_of(spec))
        if stored_rows is None or all(rows[kind] <= stored_rows.get(kind, 0) for kind in rows):
            return ResumePoint(snapshot, tuple(unreadable))
    return ResumePoint(None, tuple(unreadable))
