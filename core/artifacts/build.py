"""Choice of the artifact store for a location."""

from pathlib import Path
from typing import Final

from core.artifacts.base import ArtifactStore
from core.artifacts.local import LocalStore

PATIENCE_S: Final = 30.0
"""A trainer's or a worker's: its background thread may wait, a job should not fail for a hiccup."""


def open_artifacts(location: str, *, patience_s: float = PATIENCE_S) -> ArtifactStore:
    """Return the store at a folder's path or at `s3://bucket/prefix` (see `Settings.artifacts`).

    Nothing is connected or made yet. `patience_s`: for how long an object store's failed requests
    are repeated. Raises `ArtifactError` for an endpoint that must not be used.
    """
    if "://" in location:
        from core.artifacts.s3 import ObjectStore  # a local folder has no use for obstore

        return ObjectStore(location, patience_s)
    return LocalStore(Path(location))
