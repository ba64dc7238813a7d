"""The record of an uploaded data set.

It is `checking` while the file is looked at, if that takes longer than the request; then `ready`
or `refused`. The stored content belongs to all data sets with the same bytes, and goes with the
last of them.
"""

from dataclasses import dataclass, field
from typing import Annotated, Final, Literal, get_args

from core.ids import time_text
from core.jobs import JSON, NUMBER, TEXT, Stored
from core.specs.base import Json
from core.specs.sizes.uploads import UploadFacts

DatasetStatus = Literal["checking", "ready", "refused"]
DATASET_STATUSES: Final[tuple[DatasetStatus, ...]] = get_args(DatasetStatus)


@dataclass(frozen=True)
class DatasetRecord:
    """All that is stored of a data set, but for its content. As of `core.jobs.JobRecord`, this is
    the one place that names its fields.

    Attributes:
        media_type: of the file, without parameters.
        schema: as it was posted, in its long form; None: all was inferred.
        contents: `core.uploads.contents.Contents` as JSON; None until it is ready.
        sha256: of the file's bytes.
        size_bytes: of the file.
        age_ms: its age when it expires, counted from its making and from each job or study that is
            made with it; 0: it never does.
        expires_ms: milliseconds since 1970 at which it expires; 0: never.
        keep_ms: milliseconds since 1970 until which it is kept whatever its age; 0: not set.
        error: why it was refused: code, message, row, column and entry of a zip.
        file: name of the stored content.
        owner, key_id: as of a job.
        version: grows with every change of the record.
    """

    id: Annotated[str, TEXT]
    status: Annotated[DatasetStatus, TEXT]
    created_at: Annotated[str, TEXT]
    kind: Annotated[str, TEXT]
    media_type: Annotated[str, TEXT]
    sha256: Annotated[str, TEXT]
    size_bytes: Annotated[int, NUMBER]
    name: Annotated[str | None, TEXT] = None
    schema: Annotated[Json | None, JSON] = None
    contents: Annotated[Json | None, JSON] = None
    error: Annotated[Json | None, JSON] = None
    labels: Annotated[dict[str, str], JSON] = field(default_factory=dict)
    age_ms: Annotated[int, NUMBER] = 0
    expires_ms: Annotated[int, NUMBER] = 0
    keep_ms: Annotated[int, NUMBER] = 0
    file: Annotated[str | None, Stored("text")] = None
    owner: Annotated[str | None, TEXT] = None
    key_id: Annotated[str | None, TEXT] = None
    version: Annotated[int, NUMBER] = 0

    @property
    def terminal(self) -> bool:
        """Tell whether the check has ended."""
        return self.status != "checking"

    @property
    def expires_at(self) -> str | None:
        """The time from which on it is removed, if no job or study that has not ended uses it."""
        return time_text(max(self.expires_ms, self.keep_ms)) if self.expires_ms else None

    @property
    def facts(self) -> UploadFacts:
        """The facts that specs which name it are held against."""
        declared = (self.schema or {}).get("columns", ())
        return UploadFacts.of(self.status, self.kind, self.file, self.contents, declared)

    @property
    def keep_until(self) -> str | None:
        return time_text(self.keep_ms)
