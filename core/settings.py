"""Every setting of the service: an environment variable `THALWEG_…` (`thalweg settings`)."""

import difflib
import ipaddress
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from core.addresses import networks_in
from core.environment import priority, redis_address

PREFIX: Final = "THALWEG_"
OTHERS: Final = frozenset(
    {"THALWEG_URL", "THALWEG_KEY", "THALWEG_REDIS_MAXMEMORY", "THALWEG_OWN_GPU"}
)
"""Variables with our prefix that are no settings of the service: of its clients, of the compose
file, and of `core.environment.gpus`."""
_SECRETIVE: Final = frozenset({"redis_url", "artifacts"})
"""Settings in which people write passwords and keys: their values are not quoted."""

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


def _redis_url(text: str) -> str:
    """Check the address of a server. Its mistakes quote nothing of it: it may hold a password."""
    redis_address.parse(text)
    return text


_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?(:\d{1,5})?")


def _names(text: str) -> str:
    """Check that each is the name of one host: what can match no `Host` is refused."""
    for name in filter(None, map(str.strip, text.split(","))):
        address, _, _ = name.removeprefix("[").partition("]")
        if _NAME.fullmatch(name) is None and not _is_address(address):
            raise ValueError(
                f"{name[:80]!r} is no name of a host: list each name by itself, with commas"
                " between (api,thalweg.internal); there are no patterns, and the probes /livez and"
                " /readyz are answered under any name"
            )
    return text


_ORIGIN = re.compile(r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?")


def _origins(text: str) -> str:
    for origin in filter(None, map(str.strip, text.split(","))):
        if _ORIGIN.fullmatch(origin) is None:
            raise ValueError(
                f"{origin[:80]!r} is no origin of a web page: list each by itself, as the browser"
                " names it (https://app.example,http://localhost:3000), without a path; there are"
                " no patterns"
            )
    return text


def _networks(text: str) -> str:
    networks_in(text)
    return text


_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)*")


def _prefix(text: str) -> str:
    path = text.rstrip("/")
    if _PREFIX.fullmatch(path) is None or path == "/v1":
        raise ValueError("give the path under which a proxy shows the service, such as /thalweg")
    return path


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


class Settings(BaseSettings):
    """Read once, in a composition root, and passed on. Sizes in bytes, times in seconds."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    redis_url: Annotated[str, AfterValidator(_redis_url)] = "redis://127.0.0.1:6379/0"
    """Address of the store and the broker: `redis://`, `rediss://` (TLS), `unix://`, or behind
    Sentinels `redis+sentinel://host:26379,host:26379/service/0` (`rediss+sentinel://`); a password
    in it is percent-encoded."""
    namespace: str = "thalweg"
    """Prefix of every key in Redis."""
    artifacts: Annotated[str, AfterValidator(_location)] = "./thalweg-artifacts"
    """Store of weights and checkpoints: a folder, or `s3://bucket/prefix` on an object store (its
    endpoint, region and keys come from the usual `AWS_…` variables)."""
    host: str = "127.0.0.1"
    """Address that the API listens on: loopback only while no keys were made (`thalweg keys`)."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """Port that the API listens on; 0 takes a free one."""
    insecure_listen: bool = False
    """Let the API listen on an address that is not loopback although no keys were made: for a
    container whose port is published on the host's loopback only."""
    trusted_hosts: Annotated[str, AfterValidator(_names)] = ""
    """Host names, with commas between, that requests may name besides localhost and loopback
    addresses (`api,thalweg.internal`); any other `Host` or `Origin` is refused while no keys
    were made. Names only, no patterns. The probes `/livez` and `/readyz` take any `Host`."""
    keep_alive_s: Annotated[int, Field(gt=0)] = 75
    """Seconds for which the API keeps an idle connection open. Longer than a proxy in front of it
    does, so that none is closed as it is used."""
    request_timeout_s: Annotated[float, Field(gt=0)] = 20.0
    """Seconds in which a request's head must have come (408); a body has this and a second more for
    each 500 bytes. A caller that takes nothing of a reply for three times as long is cut off."""
    stream_ping_s: Annotated[float, Field(gt=0, le=15)] = 10.0
    """Seconds after which a stream of events that has nothing to say is sent a comment, so that no
    proxy takes it for dead: less than its idle time."""
    stream_patience_s: Annotated[float, Field(gt=0)] = 10.0
    """Seconds for which a reader may take nothing of a stream of events; then it is cut off, and
    may reconnect with the last id that it has seen."""
    cors_origins: Annotated[str, AfterValidator(_origins)] = ""
    """Origins of web pages elsewhere, with commas between, that may call the API and read its
    replies (`https://app.example,http://localhost:3000`); none: no page of another site may."""
    root_path: Annotated[str, AfterValidator(_prefix)] = ""
    """Path under which a proxy shows the service (`/thalweg`): links in replies begin with it. The
    proxy may cut it off or leave it on."""
    max_body_bytes: Annotated[int, Field(gt=0)] = 16 * 2**20
    """Larger request bodies are refused (413); uploads have a limit of their own."""
    max_upload_bytes: Annotated[int, Field(gt=0)] = 2 * 2**30
    """Larger uploads are refused (413)."""
    upload_folder: Path | None = None
    """Folder in which uploads lie until they have been checked; none: `.uploads` in the folder of
    the artifacts, or, where those are in an object store, a folder of the system's temporary
    one."""
    upload_wait_s: Annotated[float, Field(ge=0)] = 10.0
    """Seconds for which an upload waits for the end of its check; then the reply says `checking`,
    and the check goes on."""
    max_checks: Annotated[int, Field(gt=0)] = 2
    """Uploads that one API checks at the same time; others wait."""
    dataset_age_s: Annotated[float, Field(ge=0)] = 30 * 86_400.0
    """Seconds after which a data set expires, counted from its upload and from each job or study
    that is made with it; one that uses it and has not ended puts that off. 0: it never does."""
    prediction_age_s: Annotated[float, Field(ge=0)] = 86_400.0
    """Seconds after which predictions are removed, counted from their end; 0: they go with their
    job only."""
    max_prediction_rows: Annotated[int, Field(gt=0)] = 100_000
    """Most rows of one prediction."""
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
    store_folder: Path | None = None
    """Folder of the Redis server's data, where that is on this machine (`thalweg serve` sets it):
    new work is refused (503) while its disk has less than `reserve_bytes` free."""
    reserve_bytes: Annotated[int, Field(ge=0)] = 128 * 2**20
    """Free bytes of the disk in `store_folder` below which new work is refused; the server of
    `thalweg serve` refuses all writes below a quarter of it. 0: no reserve."""
    max_queued_jobs: Annotated[int, Field(gt=0)] = 1_000_000
    """Queued jobs above which new ones are refused (503)."""
    lease_s: Annotated[float, Field(gt=0)] = 6.0
    """A worker that has not renewed its lease for this long has lost its job."""
    reconcile_every_s: Annotated[float, Field(gt=0)] = 1.0
    """Interval at which each worker looks for expired leases and for queued jobs whose message was
    lost."""
    system_every_s: Annotated[float, Field(gt=0)] = 5.0
    """Interval at which a job's process is looked at while it trains: the rows of its history with
    `kind=system`, of which the last 2,000 are kept."""
    cancel_grace_s: Annotated[float, Field(gt=0)] = 10.0
    """A step loop that has not answered a cancel for this long is killed."""
    shutdown_grace_s: Annotated[float, Field(gt=0)] = 8.0
    """Time that a running job has to write a checkpoint when its worker shuts down."""
    trainer_nice: Annotated[int, Field(ge=priority.LEAST, le=priority.MOST)] = priority.DEFAULT
    """Niceness of the processes that train, above that of their worker (0 to 19), so that requests
    and heartbeats need not wait for them. 0: they take processors like all others, for a machine on
    which other work must not slow training down."""
    max_job_seconds: Annotated[float, Field(gt=0)] | None = None
    """Hard limit on one attempt's running time (`time_limit_exceeded`)."""
    retention_age_s: Annotated[float, Field(gt=0)] | None = None
    """Jobs that ended longer ago than this are removed with history and artifacts; none: never."""
    retention_count: Annotated[int, Field(ge=0)] | None = None
    """Number of ended jobs that are kept, those that ended last; none: all."""
    idempotency_ttl_s: Annotated[int, Field(gt=0)] = 86_400
    """Time for which an Idempotency-Key is remembered."""
    webhook_allow: Annotated[str, AfterValidator(_networks)] = ""
    """Networks and addresses, with commas between, that webhooks may reach although they are not
    public, and by http:// too (`10.1.0.0/16,127.0.0.1,fd00::/8`); none: webhooks go to public
    addresses by https:// alone."""
    webhook_timeout_s: Annotated[float, Field(gt=0, le=60)] = 10.0
    """Seconds that one delivery of a webhook may take in all."""
    webhook_retry_s: Annotated[float, Field(ge=0)] = 86_400.0
    """Seconds for which a delivery that failed is tried again, with growing pauses."""
    webhook_log_age_s: Annotated[float, Field(gt=0)] = 7 * 86_400.0
    """Seconds for which a delivery that has ended stays in the log; at most 100,000 stay."""
    log_level: str = "info"
    """`debug` (each request of the API too), `info`, `warning` or `error`."""

    @property
    def artifacts_location(self) -> str:
        """The `artifacts` setting, a folder's path made absolute."""
        if "://" in self.artifacts:
            return self.artifacts
        return str(Path(self.artifacts).expanduser().resolve())

    @property
    def lost_workers_key(self) -> str:
        """The list in Redis to which whoever sees a worker die adds its name: an idle worker takes
        it from there, and the lease of what the dead one held need not run out."""
        return f"{self.namespace}:lost_workers"

    @property
    def workers_key(self) -> str:
        """The hash in Redis with the reports of the workers, by name."""
        return f"{self.namespace}:workers"

    @property
    def redis_address(self) -> str:
        """The `redis_url` without user and password: for messages and logs."""
        return redis_address.without_login(self.redis_url)

    def shown(self, name: str) -> str:
        """Write a setting's value as its variable has it, a password left out."""
        value = getattr(self, name)
        if name == "redis_url":
            return redis_address.shown(self.redis_url)
        return "" if value is None else str(value)


def variable(name: str) -> str:
    """Return the environment variable of a setting."""
    return f"{PREFIX}{name.upper()}"


def setting_mistakes(error: ValidationError) -> str:
    """Say in one line which environment variables are wrong, and why; what may hold a secret is not
    quoted."""
    return "; ".join(
        variable(name)
        + ("" if name in _SECRETIVE else f"={mistake['input']!r}")
        + f": {mistake['msg'].removeprefix('Value error, ')}"
        for mistake in error.errors(include_url=False, include_context=False)
        for name in [".".join(map(str, mistake["loc"]))]
    )


def unknown_variables(names: Iterable[str]) -> Iterator[str]:
    """Say of each variable with our prefix that is no setting so, with the setting that may be
    meant. `names`: of the environment."""
    known = [variable(name) for name in Settings.model_fields]
    for name in sorted(names):
        if name.upper().startswith(PREFIX) and name.upper() not in {*known, *OTHERS}:
            near = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.8)
            guess = f"; did you mean {near[0]}?" if near else "; `thalweg settings` lists them"
            yield f"{name} is no setting and has no effect{guess}"
