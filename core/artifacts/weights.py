"""The place of one checkpoint's weights: a file of their own, a part of what training goes on from,
or a row of what the runs of a study's task have in common. They are read from it alike."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, Self

from core.artifacts.base import ArtifactStore, OpenArtifact
from core.artifacts.stacked import open_resumed, open_row, read_header
from core.errors import ArtifactError, NotFoundError

INITIAL: Final = "initial.safetensors"
"""Name of a job's first weights, whose metadata hold of its later ones too."""


@dataclass(frozen=True)
class WeightsPlace:
    """The place of weights.

    Attributes:
        folder: id of the job or study that has the artifact.
        name: of the artifact.
        part: `file`: the whole of it; `resumed`: of a resume checkpoint; `row`: of a task's runs.
        checkpoint: the name of the weights (`final`, …), or a step.
        step: updates that they have seen.
        row: of a task's runs.
        metadata: of a run, which its file would have besides; they go before those of all runs.
    """

    folder: str
    name: str
    part: Literal["file", "resumed", "row"]
    checkpoint: str
    step: int
    row: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict)

    def open(self, store: ArtifactStore) -> OpenArtifact:
        """Open the weights as a plain safetensors file. Raises `NotFoundError` and
        `ArtifactError`; reading raises the latter too."""
        artifacts = store.job(self.folder)
        match self.part:
            case "file":
                return artifacts.open(self.name)
            case "resumed":
                return open_resumed(artifacts, self.name, INITIAL, self.step)
            case "row":
                return open_row(artifacts, self.name, self.row, self.checkpoint, self.metadata)

    def shared_metadata(self, store: ArtifactStore) -> dict[str, str]:
        """Read what the file says of the data that the weights are for. Raises `ArtifactError`."""
        name = INITIAL if self.part == "resumed" else self.name
        try:
            found: dict[str, str] = read_header(store.job(self.folder), name)[0]["__metadata__"]
        except (KeyError, NotFoundError) as error:
            what = "The weights are recorded, but their file is not there, or says nothing of them."
            raise ArtifactError(what) from error
        return found

    def to_json(self) -> dict[str, Any]:
        """Return the place as JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        """Read what `to_json` returned."""
        return cls(**stored)
