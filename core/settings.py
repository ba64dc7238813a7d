"""Every setting of the service: an environment variable `THALWEG_…` (`thalweg settings` lists them)."""

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Read once, in a composition root, and passed on. Sizes in bytes, times in seconds."""

    model_config = SettingsConfigDict(
        env_prefix="THALWEG_", frozen=True, extra="ignore", use_attribute_docstrings=True
    )

    redis_url: str = "redis://127.0.0.1:6379/0"
    """`redis://`, `rediss://` or `unix://` address of the store and the broker."""
    namespace: str = "thalweg"
    """Prefix of every key in Redis."""
    artifacts: str = "./thalweg-artifacts"
    """Folder of weights and checkpoints."""
    host: str = "127.0.0.1"
    """Address that the API listens on: loopback only while there are no keys."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    max_body_bytes: Annotated[int, Field(gt=0)] = 16 * 2**20
    """Larger request bodies are refused (413)."""
    max_parameters: Annotated[int, Field(gt=0)] = 200_000_000
    """Most parameters of a model."""
    max_memory_bytes: Annotated[int, Field(gt=0)] = 8 * 2**30
    """Most memory that a job may need by its estimate."""
    max_history_bytes: Annotated[int, Field(gt=0)] = 512 * 2**20
    """Most bytes that a job's history may take in Redis by its estimate."""
    max_samples: Annotated[int, Field(gt=0)] = 10_000_000
    """Most rows that a generator may be asked for."""
    max_queued_jobs: Annotated[int, Field(gt=0)] = 1_000_000
    """More queued jobs than this are refused (503)."""
    lease_s: Annotated[float, Field(gt=0)] = 6.0
    """A worker that has not renewed its lease for this long has lost its job."""
    reconcile_every_s: Annotated[float, Field(gt=0)] = 1.0
    """How often each worker looks for expired leases and for queued jobs that no message announced."""
    cancel_grace_s: Annotated[float, Field(gt=0)] = 10.0
    """A step loop that has not answered a cancel for this long is killed."""
    shutdown_grace_s: Annotated[float, Field(gt=0)] = 8.0
    """Time that a running job has to write a checkpoint when its worker shuts down."""
    max_job_seconds: Annotated[float, Field(gt=0)] | None = None
    """Hard limit on one attempt's running time (`time_limit_exceeded`)."""
    idempotency_ttl_s: Annotated[int, Field(gt=0)] = 86_400
    """How long an Idempotency-Key is remembered."""
    log_level: str = "info"

    @property
    def artifacts_dir(self) -> Path:
        """The artifact folder, absolute."""
        return Path(self.artifacts).expanduser().resolve()
