"""Every setting of the service: an environment variable `THALWEG_…` (`thalweg settings`)."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

_BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9!_.*'()-]+)*/?")


def _location(text: str) -> str:
    """Check a folder's path, or the one kind of URL there is. Its mistakes are not quoted: people
    put keys into URLs."""
    if "://" in text and _BUCKET.fullmatch(text) is None:
        raise ValueError(
            "give a folder or s3://bucket/prefix; keys and endpoint go into AWS_ACCESS_KEY_ID,"
            " AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL"
        )
    return text


class Settings(BaseSettings):
    """Read once, in a composition root, and passed on. Sizes in bytes, times in seconds."""

    model_config = SettingsConfigDict(
        env_prefix="THALWEG_", frozen=True, extra="ignore", use_attribute_docstrings=True
    )

    redis_url: str = "redis://127.0.0.1:6379/0"
    """`redis://`, `rediss://` or `unix://` address of the store and the broker."""
    namespace: str = "thalweg"
    """Prefix of every key in Redis."""
    artifacts: Annotated[str, AfterValidator(_location)] = "./thalweg-artifacts"
    """Store of weights and checkpoints: a folder, or `s3://bucket/prefix` on an object store (its
    endpoint, region and keys come from the usual `AWS_…` variables)."""
    host: str = "127.0.0.1"
    """Address that the API listens on: loopback only while there are no keys."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """Port that the API listens on; 0 takes a free one."""
    insecure_listen: bool = False
    """Let the API listen on an address that is not loopback although there are no keys: for a
    container whose port is published on the host's loopback only."""
    trusted_hosts: str = ""
    """Host names, with commas between, that requests may name besides localhost and loopback
    addresses (`api,thalweg.internal`); any other `Host` or `Origin` is refused while there are no
    keys."""
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
    max_study_runs: Annotated[int, Field(gt=0)] = 10_000
    """Most runs of a study."""
    max_study_steps: Annotated[int, Field(gt=0)] = 1_000_000_000
    """Most updates of a study, over all its runs."""
    max_queued_jobs: Annotated[int, Field(gt=0)] = 1_000_000
    """Queued jobs above which new ones are refused (503)."""
    lease_s: Annotated[float, Field(gt=0)] = 6.0
    """A worker that has not renewed its lease for this long has lost its job."""
    reconcile_every_s: Annotated[float, Field(gt=0)] = 1.0
    """Interval at which each worker looks for expired leases and for queued jobs whose message was
    lost."""
    cancel_grace_s: Annotated[float, Field(gt=0)] = 10.0
    """A step loop that has not answered a cancel for this long is killed."""
    shutdown_grace_s: Annotated[float, Field(gt=0)] = 8.0
    """Time that a running job has to write a checkpoint when its worker shuts down."""
    max_job_seconds: Annotated[float, Field(gt=0)] | None = None
    """Hard limit on one attempt's running time (`time_limit_exceeded`)."""
    retention_age_s: Annotated[float, Field(gt=0)] | None = None
    """Jobs that ended longer ago than this are removed with history and artifacts; none: never."""
    retention_count: Annotated[int, Field(ge=0)] | None = None
    """Number of ended jobs that are kept, those that ended last; none: all."""
    idempotency_ttl_s: Annotated[int, Field(gt=0)] = 86_400
    """Time for which an Idempotency-Key is remembered."""
    log_level: str = "info"
    """`debug` (each request of the API too), `info`, `warning` or `error`."""

    @property
    def artifacts_location(self) -> str:
        """The `artifacts` setting, a folder's path made absolute."""
        if "://" in self.artifacts:
            return self.artifacts
        return str(Path(self.artifacts).expanduser().resolve())

    @property
    def redis_address(self) -> str:
        """The `redis_url` without user and password: for messages and logs."""
        return re.sub(r"//.*@", "//", self.redis_url)
