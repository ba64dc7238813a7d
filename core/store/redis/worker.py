"""A worker's store on Redis."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, cast

from core.jobs import AttemptEnd, JobRecord, Outcome, Status
from core.specs.base import Json
from core.store.calls import jobs as job_calls
from core.store.calls.codec import dumps, encode_updates, fields_of, need_in
from core.store.calls.datasets import INTERRUPTED
from core.store.calls.job_codec import (
    decode_job,
    decode_layouts,
    encode_memory,
    encode_worker,
    rooms_of,
    wake_lists,
    worker_kind,
)
from core.store.calls.nouns import JOBS, record_key
from core.store.calls.opening import (
    check_mode,
    check_opened,
    mode_call,
    open_call,
    refuse_newer,
)
from core.store.calls.study_codec import decode_claim
from core.store.calls.write import (
    accept,
    accept_before_close,
    append_call,
    expected_rows,
    held,
    sample_calls,
    status_in,
    time_calls,
    truncate_call,
)
from core.store.connection.client import TIMEOUT_S, Call, SyncClient, call_script, command
from core.store.history.layout import Columns, HistoryKind, HistoryMeta, Rows
from core.store.history.samples import Samples
from core.store.history.times import Times
from core.store.protocols.types import Claim, TaskClaim, Wanted, WorkerInfo
from core.store.redis.uses import RedisUses
from core.store.redis.webhooks import RedisWebhooks
from core.store.redis.worker_diagnoses import MAX_ATTEMPTS, RedisDiagnoses
from core.store.redis.worker_studies import RedisStudies
from core.studies import study_of

REAP_BATCH: Final = 100
LONGEST_LEASE_S: Final = 1e9
NO_SIZES: Final[Mapping[str, int]] = MappingProxyType({})


class RedisStore:
    """`WorkerStore` on one Redis server. Connects at the first call; threads may share it."""

    def __init__(self, url: str, namespace: str) -> None:
        self._link = SyncClient(url, namespace, "thalweg-worker")
        self.diagnoses = RedisDiagnoses(self._link)
        self.studies = RedisStudies(self._link)
        self.uses = RedisUses(self._link)
        self.webhooks = RedisWebhooks(self._link)

    def disconnect(self) -> None:
        """Close the connections; a later call opens new ones."""
        self._link.disconnect()

    def ping(self) -> None:
        self._link.call(command("PING"))

    def open(self) -> None:
        check_mode(self._link.call(mode_call()))
        check_opened(self._link.call(open_call()))

    def get(self, job_id: str) -> JobRecord:
        return JOBS.record_in(self._link.call(JOBS.read(self._link.key(), job_id)), job_id)

    def claim_next(
        self,
        worker: str,
        devices: Sequence[str],
        lease_s: float,
        memory_bytes: Mapping[str, int] = NO_SIZES,
    ) -> Claim | TaskClaim | None:
        kind, rooms = worker_kind(devices), rooms_of(devices, memory_bytes)
        queues = [word for queue, room in rooms.items() for word in (queue, room)]
        match self._link.call(call_script("claim", worker, _ms(lease_s), kind, *queues)):
            case [b"job", record]:
                fields = fields_of(record)
                return Claim(
                    decode_job(fields),
                    int(fields["token"]),
                    int(fields["attempts"]),
                    decode_layouts(fields),
                    need_in(fields),
                )
            case [b"task", task, study]:
                return decode_claim(fields_of(task), fields_of(study))
            case [b"newer", found]:
                raise refuse_newer(found)
            case _:
                return None

    def await_work(self, devices: Sequence[str], timeout_s: float) -> bool:
        lost = self._link.key("lost_workers")
        lists = [lost, *map(self._link.key, wake_lists(devices))]
        # The server answers before the connection's own patience ends.
        wait_s = min(timeout_s, TIMEOUT_S / 2)
        match self._link.call(command("BLPOP", *lists, wait_s)):
            case None:
                return False
            case [key, name] if key.decode() == lost:
                self._link.call(call_script("lose_worker", name, MAX_ATTEMPTS))
        return True

    def renew(self, claim: Claim | TaskClaim, lease_s: float) -> Wanted | int:
        answer = self._link.call(call_script("renew", *held(claim), _ms(lease_s)))
        accept(answer, claim)
        wanted = answer[1].decode()
        return int(wanted) if wanted.isdigit() else cast(Wanted, wanted)

    def append_rows(
        self, claim: Claim, kind: HistoryKind, first_row: int, columns: Columns
    ) -> None:
        self._write([self._append(claim, (kind, first_row, columns))], claim)

    def truncate_rows(
        self,
        claim: Claim,
        kind: HistoryKind,
        num_rows: int,
        rewinds: int | None = None,
        *,
        is_rewind: bool = False,
    ) -> None:
        layout = claim.layouts[kind]
        cut = truncate_call(claim, "", kind, layout, num_rows, rewinds, is_rewind=is_rewind)
        self._write([cut], claim)

    def update(
        self,
        claim: Claim,
        fields: Json,
        rows: Sequence[Rows] = (),
        times: Times = (),
        samples: Samples = (),
    ) -> None:
        several = [*sample_calls(claim, samples), *time_calls(claim, times)]
        several += [self._append(claim, each) for each in rows]
        if fields or not several:  # rows alone are no change of the record
            several.append(call_script("update", *held(claim), *encode_updates(fields)))
        self._write(several, claim)

    def close(
        self,
        claim: Claim,
        status: Status,
        end: AttemptEnd,
        *,
        outcome: Outcome | None,
        fields: Json,
        rows: Sequence[Rows] = (),
        times: Times = (),
        num_rows: Mapping[HistoryKind, int] | None = None,
    ) -> Status:
        if (outcome is not None) != (status == "succeeded"):
            raise ValueError(f"outcome {outcome!r} does not go with status {status!r}")
        values = encode_updates({**fields, "outcome": outcome}, closing=True)
        appends = [*time_calls(claim, times), *(self._append(claim, each) for each in rows)]
        words = (*held(claim), expected_rows(num_rows), status, end, *values)
        *before, last = self._link.calls([*appends, call_script("close", *words)])
        now = status_in(last, claim)
        accept_before_close(before, claim)
        return now

    def hand_over(self, claim: Claim | TaskClaim, result: Json | None = None) -> Status:
        partial = "" if result is None else dumps(result)
        return status_in(self._link.call(call_script("hand_over", *held(claim), partial)), claim)

    def lose(self, claim: Claim | TaskClaim, how: str = "") -> Status:
        return status_in(self._link.call(call_script("lose", *held(claim), how)), claim)

    def clock_s(self) -> float:
        seconds, micros = self._link.call(command("TIME"))
        return int(seconds) + int(micros) / 1e6

    def reap(self, lease_s: float = LONGEST_LEASE_S) -> Sequence[str]:
        reaped: list[str] = []
        call = call_script("reap", REAP_BATCH, MAX_ATTEMPTS, _ms(lease_s))
        while True:
            found = [job_id.decode() for job_id in self._link.call(call)]
            reaped += found
            if len(found) < REAP_BATCH:
                return reaped

    def expire(self, age_s: float | None, count: int | None, limit: int) -> Sequence[str]:
        age_ms = "" if age_s is None else _ms(age_s)
        call = call_script("expire", age_ms, "" if count is None else count, limit)
        return [job_id.decode() for job_id in self._link.call(call)]

    def expire_datasets(self, limit: int) -> Sequence[str]:
        self._link.call(call_script("reap_checks", limit, dumps(INTERRUPTED)))
        return [name.decode() for name in self._link.call(call_script("expire_datasets", limit))]

    def trashed(self, limit: int) -> Sequence[str]:
        found = self._link.call(command("SRANDMEMBER", self._link.key("trash"), limit))
        return [job_id.decode() for job_id in found]

    def free(self, job_id: str) -> None:
        if study_of(job_id):
            self.studies.free(job_id)
            return
        namespace = self._link.key()
        trashed = self._link.call(job_calls.read_trash(job_id, namespace))
        for batch in job_calls.free(trashed, job_id, namespace):
            self._link.calls(batch)

    def history_meta(self, job_id: str, kind: HistoryKind) -> HistoryMeta:
        return job_calls.meta_in(
            self._link.call(job_calls.read_meta(self._name(job_id), kind)), job_id
        )

    def history_rows(
        self,
        job_id: str,
        kind: HistoryKind,
        meta: HistoryMeta,
        series: Sequence[str],
        first_row: int,
        num_rows: int,
    ) -> Columns:
        reader = job_calls.RowReader(job_id, kind, meta, series, first_row, num_rows)
        requests = reader.calls(self._link.key())
        return reader.columns(self._link.calls(requests) if requests else [])

    def read_columns(self, job_id: str, kind: HistoryKind) -> Columns:
        meta = self.history_meta(job_id, kind)
        series = ["step", *meta.layout.widths]
        return self.history_rows(job_id, kind, meta, series, 0, meta.num_rows)

    def num_queued(self) -> int:
        names = (("status", "queued"), ("task-status", "queued"), ("diagnoses",), ("uses",))
        keys = [self._link.key(*name) for name in names]
        return sum(int(each) for each in self._link.calls([command("ZCARD", key) for key in keys]))

    def requests_wait(self) -> bool:
        keys = map(self._link.key, ("diagnoses", "uses"))
        return bool(self._link.call(command("EXISTS", *keys)))

    def report_worker(self, info: WorkerInfo, ttl_s: float, *, takes_work: bool = True) -> None:
        kind = worker_kind(info.devices) if takes_work else ""
        words = (info.name, encode_worker(info), _ms(ttl_s), kind, encode_memory(info))
        self._link.call(call_script("report_worker", *words))

    def forget_worker(self, name: str) -> None:
        self._link.call(call_script("forget_worker", name))

    def _name(self, name: str) -> str:
        return record_key(self._link.key(), name)

    def _append(self, claim: Claim, rows: Rows) -> Call:
        kind, first_row, columns = rows
        return append_call(claim, "", kind, claim.layouts[kind], first_row, columns)

    def _write(self, several: Sequence[Call], claim: Claim) -> None:
        for answer in self._link.calls(several):
            accept(answer, claim)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
