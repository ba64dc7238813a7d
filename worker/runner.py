"""The one thread that runs jobs and the tasks of studies: woken by a message or by the reconciler,
it claims and runs them until none is queued, and keeps a warm trainer ready in between."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Final, assert_never

from core.artifacts.base import ArtifactStore
from core.errors import ArtifactError, NewerFormatError, StoreUnavailableError
from core.settings import Settings
from core.store.calls.job_codec import device_of
from core.store.protocols.types import Claim, TaskClaim
from core.store.protocols.worker import WorkerStore
from core.strategies.plan import next_round
from core.tracing import Tracing
from worker.execution.context import ExecutionContext, Shutdown
from worker.execution.execution import Execution
from worker.execution.job import JobExecution
from worker.execution.plan import Decide, PlanExecution
from worker.execution.requested_diagnosis import DiagnosisExecution
from worker.execution.supervision import Mailbox, Order, TrainerLine
from worker.execution.task import TaskExecution
from worker.execution.use import UseExecution
from worker.heartbeat import Heartbeat
from worker.trainer.client import Heard, TrainerClient, TrainerDied, TrainerUnavailableError

log = logging.getLogger("thalweg.worker")

_FIRST_BACKOFF_S = 0.5
_LAST_BACKOFF_S = 30.0
_REQUESTS_EVERY_S = 1.0
_WRITE_AGAIN_S = 1.0
_TRAINER_END_S = 1.0
_SIGNALS_EVERY_S = 0.25


@dataclass(frozen=True)
class Stint:
    """The work after which a worker ends by itself.

    Attributes:
        max_jobs: number of jobs and of tasks that train; plans and diagnoses, which take
            milliseconds, are not counted. None: no end.
        idle_s: seconds in which it has had nothing to do. None: no end.
    """

    max_jobs: int | None = None
    idle_s: float | None = None


FOREVER: Final = Stint()


class Runner:
    """Runs one job or task at a time.

    Args:
        link: the trainer, heard by nobody else.
        devices: settles which of the devices that the trainer found this worker uses.
        decide: what a study's plan is.
        tracing: where the spans of attempts go; None: nowhere.
        stint: when it ends by itself.

    Attributes:
        refused: why no more work is claimed; None while it is.
        unwritable: why artifacts cannot be written, for which no work is claimed; None while they
            can.
        end_process: called once, when work is refused, or when the stint is over.
    """

    def __init__(
        self,
        store: WorkerStore,
        *,
        name: str,
        settings: Settings,
        link: TrainerClient,
        artifacts: ArtifactStore,
        devices: Callable[[Sequence[str]], tuple[str, ...]],
        decide: Decide = next_round,
        tracing: Tracing | None = None,
        stint: Stint = FOREVER,
    ) -> None:
        self._store = store
        self._stint = stint
        self._num_trained = 0
        self._idle_since = time.monotonic()
        self._name = name
        self._settings = settings
        self._link = link
        link.hear = self._hear
        self._artifacts = artifacts
        self._choose_devices = devices
        self._decide = decide
        self._tracing = tracing
        self.refused: str | None = None
        self.unwritable: str | None = None
        self.end_process: Callable[[], None] = lambda: None
        self._heartbeat: Heartbeat | None = None
        self._mailbox: Mailbox | None = None
        self._num_runs = 0
        self._look_at_requests = 0.0
        self._shutdown = Shutdown()
        self._cond = threading.Condition()
        self._asked = 1
        self._looked = 0
        self._served = 0
        self._working = False
        self._has_trainer = True
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="runner", daemon=True)

    def start(self, heartbeat: Heartbeat) -> None:
        """Start the trainer and look for work."""
        self._heartbeat = heartbeat
        self._idle_since = time.monotonic()
        self._thread.start()

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices in use; empty until the trainer has found them."""
        return self._choose_devices(self._link.devices) if self._link.devices else ()

    @property
    def memory_bytes(self) -> dict[str, int]:
        """All the memory of each device in use, where it is known; of the CPU, too, which what asks
        for it is done on."""
        known = self._link.memory_bytes
        return {name: known[name] for name in (*self.devices, "cpu") if name in known}

    @property
    def idle(self) -> bool:
        """True when nothing is being run or looked for."""
        return self._served == self._asked and not self._working

    @property
    def takes_work(self) -> bool:
        """True when work would be claimed once the work in hand is done."""
        return self._has_trainer and self.unwritable is None and not self.closing

    def wake(self) -> int:
        """Have the queue looked at. Returns a ticket for `wait`."""
        with self._cond:
            self._asked += 1
            self._cond.notify_all()
            return self._asked

    def wait(self, ticket: int) -> None:
        """Wait until the queue was found empty after `wake` gave this ticket, or the runner stops.

        Signal handlers run meanwhile, at the latest at the next of many short waits: Python runs
        them between two instructions of the main thread, and a signal that comes just before that
        thread begins to wait, or to another thread, does not end its wait (`signal`, "Execution of
        Python signal handlers").
        """
        with self._cond:
            while not self._cond.wait_for(
                lambda: self._stopped or self._served >= ticket, _SIGNALS_EVERY_S
            ):
                pass

    @property
    def closing(self) -> bool:
        """True when the worker shuts down: no work is taken any more."""
        return self._shutdown.deadline is not None

    def wait_until_idle(self, timeout_s: float) -> bool:
        """Wait until nothing is being run or looked for, at most this long, and no longer than
        until a shutdown; return whether work would be taken at once."""
        with self._cond:
            self._cond.wait_for(lambda: self.idle or self.closing, timeout_s)
            return self.idle and not self.closing

    def begin_shutdown(self) -> None:
        """Take no more jobs, and have the one in hand handed over.

        A signal handler may call it in a thread that is in `wait`: the condition's lock is
        reentrant.
        """
        with self._cond:
            if self._shutdown.deadline is None:
                self._shutdown.deadline = time.monotonic() + self._settings.shutdown_grace_s
                self._order("hand_over")
            self._cond.notify_all()

    def stop(self) -> None:
        """Shut down: the job in hand is handed over, the trainer ends."""
        self.begin_shutdown()
        self._thread.join(self._settings.shutdown_grace_s + 1.0)
        self._link.stop(_TRAINER_END_S)

    def _run(self) -> None:
        backoff = _FIRST_BACKOFF_S
        try:
            while self._wait_for_work():
                with self._cond:
                    self._looked, self._working = self._asked, True
                try:
                    self._drain()
                    backoff = _FIRST_BACKOFF_S
                except TrainerUnavailableError as error:
                    self._has_trainer = False
                    log.error("%s Next try in %g s.", error, backoff)
                    self._pause(backoff)
                    backoff = min(2 * backoff, _LAST_BACKOFF_S)
                    self.wake()
                except StoreUnavailableError as error:
                    log.warning("no job can be claimed: %s", error)
                except ArtifactError as error:
                    self._cannot_write(error)
                    self._pause(_WRITE_AGAIN_S)
                    self.wake()
                except NewerFormatError as error:
                    self.refused = str(error)
                    self.begin_shutdown()
                    self.end_process()
                except Exception:
                    log.exception("the runner stumbled")
                    self._pause(_FIRST_BACKOFF_S)
                with self._cond:
                    self._served, self._working = self._looked, False
                    self._cond.notify_all()
        finally:
            with self._cond:
                self._stopped = True
                self._cond.notify_all()

    def _wait_for_work(self) -> bool:
        """Wait until somebody wakes us: True; False once the worker shuts down."""
        with self._cond:
            was_idle = self._asked == self._served
            if self._idle_left_s() != 0.0:
                self._cond.wait_for(
                    lambda: self.closing or self._asked > self._served, self._idle_left_s()
                )
            if was_idle:  # no request was left: the job that woke us begins without a look
                self._look_at_requests = time.monotonic() + _REQUESTS_EVERY_S
            over = self._idle_left_s() == 0.0 and self._asked == self._served
        if over and not self.closing:
            self._end_stint(f"it has had nothing to do for {self._stint.idle_s:g} s")
        return not self.closing

    def _idle_left_s(self) -> float | None:
        """Return for how long it may still have nothing to do."""
        if self._stint.idle_s is None:
            return None
        return max(0.0, self._idle_since + self._stint.idle_s - time.monotonic())

    def _end_stint(self, why: str) -> None:
        log.info("%s ends: %s", self._name, why)
        self.begin_shutdown()
        self.end_process()

    def _pause(self, seconds: float) -> None:
        with self._cond:
            self._cond.wait_for(lambda: self.closing, timeout=seconds)

    def _drain(self) -> None:
        while not self.closing:
            if self.unwritable is not None:
                self._artifacts.try_write()
                self.unwritable = None
                log.info("artifacts can be written again")
            self._link.start()
            self._has_trainer = True
            # Requests are short and somebody waits for them; but a look before each job would cost
            # it a round trip.
            if time.monotonic() >= self._look_at_requests and self._answer_request():
                continue
            lease_s, memory = self._settings.lease_s, self.memory_bytes
            with self._cond:
                self._looked = self._asked
            claim = self._store.claim_next(self._name, self.devices, lease_s, memory)
            if claim is not None:
                self._work(claim)
                self._count(claim)
            elif not self._answer_request():
                return

    def _count(self, claim: Claim | TaskClaim) -> None:
        self._idle_since = time.monotonic()
        if isinstance(claim, TaskClaim) and claim.task.kind == "plan":
            return
        self._num_trained += 1
        if self._num_trained == self._stint.max_jobs and not self.closing:
            self._end_stint(f"it has done {self._num_trained} of {self._stint.max_jobs} jobs")

    def _cannot_write(self, error: ArtifactError) -> None:
        if self.unwritable is None:
            log.error("%s No work is taken until they can.", unwritable(error))
        self.unwritable = unwritable(error)

    def _answer_request(self) -> bool:
        """Make one of the predictions, exports or diagnoses that were asked for, and tell whether
        there was one. The next look is due at once, or, without any, in a while."""
        if self._store.requests_wait() and (self._use() or self._diagnose()):
            self._idle_since = time.monotonic()
            return True
        self._look_at_requests = time.monotonic() + _REQUESTS_EVERY_S
        return False

    def _use(self) -> bool:
        claim = self._store.uses.claim(self._name, self.devices, self._settings.lease_s)
        if claim is None:
            return False
        with self._reachable() as context:
            UseExecution(claim, context, self._device_for(claim.use.device, context)).run()
        return True

    def _device_for(self, wanted: str, context: ExecutionContext) -> str:
        """Settle the device of a request: the one that its job asks for, where there is one."""
        served = wanted in {"auto", *self.devices}
        return context.device(wanted if served else "auto")

    def _diagnose(self) -> bool:
        claim = self._store.diagnoses.claim(self._name, self.devices, self._settings.lease_s)
        if claim is None:
            return False
        with self._reachable() as context:
            device = self._device_for(claim.job.spec["device"], context)
            DiagnosisExecution(claim, context, device).run()
        return True

    def _work(self, claim: Claim | TaskClaim) -> None:
        with self._reachable() as context, self._held(claim, context.line.mailbox):
            self._execution(claim, context).run()

    def _execution(self, claim: Claim | TaskClaim, context: ExecutionContext) -> Execution:
        match claim:
            case TaskClaim() if claim.task.kind == "plan":
                return PlanExecution(claim, context, self._decide)
            case TaskClaim():
                return TaskExecution(claim, context)
            case Claim():
                return JobExecution(claim, context)
            case _:
                assert_never(claim)

    @contextlib.contextmanager
    def _reachable(self) -> Iterator[ExecutionContext]:
        """Open the mailbox to which the trainer and a shutdown write, and yield the context of one
        execution."""
        mailbox: Mailbox = SimpleQueue()
        self._mailbox = mailbox
        if (died := self._link.died) is not None:  # before there was a mailbox to hear of it
            mailbox.put(died)
        if self.closing:  # the order came between the claim and the mailbox
            mailbox.put("hand_over")
        self._num_runs += 1
        try:
            yield ExecutionContext(
                store=self._store,
                line=TrainerLine(self._link, self._num_runs, mailbox),
                artifacts=self._artifacts,
                settings=self._settings,
                device=lambda wanted: device_of(wanted, self.devices),
                memory_bytes=self.memory_bytes,
                shutdown=self._shutdown,
                cannot_write=self._cannot_write,
                worker=self._name,
                tracing=self._tracing,
            )
        finally:
            self._mailbox = None

    @contextlib.contextmanager
    def _held(self, claim: Claim | TaskClaim, mailbox: Mailbox) -> Iterator[None]:
        """Keep the claim's lease renewed meanwhile."""
        assert self._heartbeat is not None
        self._heartbeat.hold(claim, mailbox.put)
        try:
            yield
        finally:
            self._heartbeat.release()

    def _hear(self, heard: Heard) -> None:
        """Put what the trainer says into the mailbox; the link's thread calls this."""
        mailbox = self._mailbox
        if mailbox is not None:
            mailbox.put(heard)
        elif isinstance(heard, TrainerDied):
            log.error("while idle: %s A new one starts.", heard.words)
            self.wake()

    def _order(self, order: Order) -> None:
        mailbox = self._mailbox
        if mailbox is not None:
            mailbox.put(order)


def unwritable(error: ArtifactError) -> str:
    """Say why a worker takes no work although it is there."""
    return f"Artifacts cannot be written ({error})."
