"""Composition root of the worker: settings -> store, trainer, runner, Celery.

Celery brings the messages and the life of the process. It runs the task in its main thread (pool
`solo`), which waits there for the runner's thread, so that signals are answered while a job runs
and no second message is taken meanwhile. The broker's own guarantees are not used (see
docs/decisions): no acknowledgement after the work, no retries, no results, no time limits.
"""

import argparse
import gc
import importlib.util
import logging
import os
import signal
import socket
import sys
import warnings
from collections.abc import Sequence
from typing import Any, Final, Protocol

from celery import Celery, signals
from celery.exceptions import SecurityWarning
from pydantic import ValidationError

from core.artifacts.base import ArtifactStore
from core.artifacts.build import open_artifacts
from core.broker import QUEUE, TASK, celery_config
from core.environment import redis_address, stacks
from core.environment.gpus import missing_gpu
from core.errors import ArtifactError, StoreUnavailableError, UnusableStoreError
from core.log import configure
from core.settings import Settings, setting_mistakes, unknown_variables
from core.store.protocols.worker import WorkerStore
from core.store.redis import RedisStore
from core.tracing import tracing_of
from worker.health import HealthFiles
from worker.heartbeat import Heartbeat
from worker.janitor import Janitor
from worker.listener import Listener
from worker.reconciler import Reconciler
from worker.runner import FOREVER, Runner, Stint, unwritable
from worker.trainer.client import TrainerClient, TrainerUnavailableError
from worker.trainer.process import TRAINER, TrainerProcess
from worker.webhooks.courier import Courier

log = logging.getLogger("thalweg.worker")


NEEDED: Final = ("optuna", "scipy", "sklearn", "torch")
"""Packages of the extra `worker`."""


class StartError(Exception):
    """The reason why this worker cannot start; `str(error)` is one line that says it."""


def create_app(settings: Settings, runner: Runner) -> Celery:
    """Create the Celery application of one worker process."""
    app = Celery("thalweg", set_as_current=False)
    config = celery_config(settings)
    # A message is a hint: to note that it was taken would cost two more writes, each of them
    # brought to the disk, between a POST and its job's start.
    config["broker_transport_options"]["ack_emulation"] = False
    app.conf.update(
        config,
        task_acks_late=False,
        worker_disable_prefetch=True,
        worker_prefetch_multiplier=1,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_max_retries=None,
    )

    # The message says only that there is work; what to do is in the store.
    @app.task(name=TASK, ignore_result=True, acks_late=False)
    def work() -> None:
        # Held until the queue is empty, so that a busy worker takes no message that would wake an
        # idle one.
        runner.wait(runner.wake())

    return app


def choose_devices(wanted: str, found: Sequence[str]) -> tuple[str, ...]:
    """Choose from the devices found (best first) those that a worker started with `--device wanted`
    uses.

    `auto`: all of them. `cuda`: every GPU. A name: that one. Raises `StartError` when it is none.
    """
    chosen = tuple(d for d in found if wanted in {"auto", d} or d.startswith(f"{wanted}:"))
    if not chosen:
        raise StartError(f"This machine has no device {wanted!r}, only: {', '.join(found)}.")
    return chosen


def run_worker(
    settings: Settings,
    *,
    name: str,
    device: str,
    trainer: Sequence[str] = TRAINER,
    begun: TrainerProcess | None = None,
    stint: Stint = FOREVER,
) -> None:
    """Work until SIGTERM or SIGINT, or until the stint is over. Raises `StartError`; also later,
    once a newer version has opened the store.

    Args:
        trainer: the command of the trainer process.
        begun: one that has been started already.
    """
    try:
        artifacts = open_artifacts(settings.artifacts_location)
    except ArtifactError as error:
        raise StartError(str(error)) from error
    try:
        artifacts.try_write()
    except ArtifactError as error:
        raise StartError(f"{unwritable(error)} Look at THALWEG_ARTIFACTS and its owner.") from error
    try:
        redis_address.check(settings.redis_url)
    except ValueError as error:  # an option or a file in it; the rest of it has been checked
        raise StartError(f"THALWEG_REDIS_URL is no address of a Redis: {error}") from error
    store = RedisStore(settings.redis_url, settings.namespace)
    link = TrainerClient(command=trainer, begun=begun, device=device, nice=settings.trainer_nice)
    tracing = tracing_of("worker", os.environ)
    try:
        try:
            store.open()
            link.launch()
            link.start()
        except StoreUnavailableError as error:
            raise StartError(f"No Redis at {settings.redis_address}: {error}") from error
        except (UnusableStoreError, TrainerUnavailableError) as error:
            raise StartError(str(error)) from error
        choose_devices(device, link.devices)
        runner = Runner(
            store,
            name=name,
            settings=settings,
            link=link,
            artifacts=artifacts,
            devices=lambda found: choose_devices(device, found),
            tracing=tracing,
            stint=stint,
        )
        runner.end_process = lambda: os.kill(os.getpid(), signal.SIGTERM)
        _work(settings, store, artifacts, runner, name)
        if runner.refused is not None:
            raise StartError(runner.refused)
    finally:
        link.stop()
        store.disconnect()
        if tracing is not None:
            tracing.close()


class _Part(Protocol):
    """A thread that begins and ends with the worker."""

    def start(self) -> None: ...
    def stop(self) -> None: ...


def _parts_around(
    runner: Runner, settings: Settings, store: WorkerStore, artifacts: ArtifactStore, name: str
) -> tuple[Heartbeat, list[_Part]]:
    """Make the parts that run beside the runner, in the order in which they end; the heartbeat ends
    last."""
    heartbeat = Heartbeat(
        store,
        name,
        lease_s=settings.lease_s,
        devices=lambda: runner.devices,
        files=HealthFiles(),
        trouble=lambda: runner.unwritable,
        takes_work=lambda: runner.takes_work,
        memory_bytes=lambda: runner.memory_bytes,
    )
    reconciler = Reconciler(
        store,
        every_s=settings.reconcile_every_s,
        lease_s=settings.lease_s,
        idle=lambda: runner.idle,
        wake=runner.wake,
    )
    listener = Listener(
        store,
        devices=lambda: runner.devices,
        idle=runner.wait_until_idle,
        closing=lambda: runner.closing,
        wake=runner.wake,
    )
    courier = Courier(store.webhooks, settings)
    return heartbeat, [Janitor(store, artifacts, settings), listener, reconciler, courier]


def _work(
    settings: Settings, store: WorkerStore, artifacts: ArtifactStore, runner: Runner, name: str
) -> None:
    heartbeat, parts = _parts_around(runner, settings, store, artifacts, name)
    started: list[_Part | Runner] = []

    def begin(**_: Any) -> None:
        if started:  # Celery says so again after each reconnection
            return
        heartbeat.start()
        runner.start(heartbeat)
        for part in reversed(parts):
            part.start()
        started.extend([*parts, runner, heartbeat])
        # Imported modules stay: a collection in the middle of a plan (which makes many small
        # objects) took 70 ms to look at them again.
        gc.collect()
        gc.freeze()
        gc.enable()
        log.info("%s is ready: %s", name, ", ".join(runner.devices))

    def end(**_: Any) -> None:
        runner.begin_shutdown()

    # Celery warns of running as root because of pickled messages; this one takes JSON only.
    warnings.simplefilter("ignore", SecurityWarning)
    app = create_app(settings, runner)
    signals.setup_logging.connect(_leave_logging_alone, weak=False)
    signals.worker_ready.connect(begin, weak=False)
    signals.worker_shutting_down.connect(end, weak=False)
    worker = app.Worker(
        hostname=name,
        pool="solo",
        concurrency=1,
        queues=[QUEUE],
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    )
    try:
        worker.start()
    finally:
        for part in started:
            part.stop()


def _leave_logging_alone(**_: Any) -> None:
    """Keep Celery from configuring the log, which it leaves alone when somebody listens to this
    signal."""


def main(trainer: Sequence[str] = TRAINER, begun: TrainerProcess | None = None) -> None:
    """Run the command line of `python -m worker`; `trainer` and `begun` as of `run_worker`."""
    stacks.write_when_asked()
    parser = argparse.ArgumentParser(prog="thalweg worker")
    parser.add_argument("--name", default=f"{socket.gethostname()}-{os.getpid()}")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--max-jobs", type=int)
    parser.add_argument("--exit-when-idle", type=float)
    arguments = parser.parse_args()
    for each in unknown_variables(os.environ):
        sys.stderr.write(f"thalweg worker: {each}\n")
    try:
        settings = Settings()
        if trainer is TRAINER:
            refuse_missing_parts()
            if (why := missing_gpu(arguments.device)) is not None:
                raise StartError(why)
        configure(settings.log_level, "thalweg", "core")
        run_worker(
            settings,
            name=arguments.name,
            device=arguments.device,
            trainer=trainer,
            begun=begun,
            stint=Stint(arguments.max_jobs, arguments.exit_when_idle),
        )
    except StartError as error:
        sys.exit(f"thalweg worker: {error}")
    except ValidationError as error:
        sys.exit(f"thalweg worker: {setting_mistakes(error)}")


def refuse_missing_parts() -> None:
    """Refuse to start where what a worker needs beyond the API is not installed: raise
    `StartError`."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise StartError(
            f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed: a worker"
            " needs Thalweg's extra `worker` (pip install 'thalweg-service[worker]', in a checkout"
            " './client' and '.[worker]')."
        )
