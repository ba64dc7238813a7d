"""Calls about studies that both stores make, and the reading of their answers."""

import json
from collections.abc import Collection, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from core.store.calls.job_codec import KINDS, decode_layout, decode_layouts
from core.store.calls.jobs import UNLINK_BATCH
from core.store.calls.nouns import STUDIES, hash_in, record_key
from core.store.calls.study_codec import RUN_FIELDS, decode_run, encode_inherited, encode_spec
from core.store.connection.client import Call, call_script, command
from core.store.history.chunks import chunk_names
from core.store.history.layout import HistoryKind
from core.store.protocols.types import Layouts
from core.studies import RunRecord, run_id

if TYPE_CHECKING:
    from core.specs.studies.extension import Extension


RUNS_AT_A_TIME: Final = 1_000


def batches(indices: Sequence[int]) -> Iterator[Sequence[int]]:
    """Cut the indices into parts that one round trip may ask for."""
    for start in range(0, len(indices), RUNS_AT_A_TIME):
        yield indices[start : start + RUNS_AT_A_TIME]


def planned(found: Sequence[bytes | None], study_id: str) -> int:
    """Read the answer to a HMGET of `id` and `planned`: all runs below this index are there. Raises
    `NotFoundError`."""
    if found[0] is None:
        raise STUDIES.not_found(study_id)
    return int(found[1] or 0)


def read_runs(namespace: str, study_id: str, indices: Sequence[int]) -> list[Call]:
    return [
        command("HMGET", record_key(namespace, run_id(study_id, index)), *RUN_FIELDS)
        for index in indices
    ]


def runs_in(answers: Sequence[Sequence[bytes | None]]) -> list[RunRecord]:
    """Read the records of the runs that have been planned."""
    return [run for run in map(decode_run, answers) if run is not None]


def read_layouts(namespace: str, study_id: str, indices: Sequence[int]) -> list[Call]:
    return [
        command("HMGET", record_key(namespace, run_id(study_id, index)), *_LAYOUTS)
        for index in indices
    ]


def layouts_in(found: Sequence[bytes | None]) -> Layouts:
    """Read the layouts of one run's histories."""
    named = zip(_LAYOUTS, found, strict=True)
    return decode_layouts({name: text for name, text in named if text is not None})


def read_rest(namespace: str, study_id: str) -> list[Call]:
    """Ask for the names of the tasks, and of the bundles."""
    key = record_key(namespace, study_id)
    return [command("SMEMBERS", f"{key}/{what}") for what in ("tasks", "bundles")]


_KEYS: Final = ("tasks", "open", "bundles", "ended", "inherited")
INHERITED_S: Final = 600
"""Seconds for which runs that a study is to inherit wait for it to be created."""


def write_inherited(namespace: str, study_id: str, runs: Sequence[RunRecord]) -> Call:
    """Keep what a study that is about to be created inherits."""
    text = "[" + ",".join(map(encode_inherited, runs)) + "]"
    key = f"{record_key(namespace, study_id)}/inherited"
    return command("SET", key, text, "EX", INHERITED_S)


def read_inherited(namespace: str, study_id: str) -> Call:
    return command("GET", f"{record_key(namespace, study_id)}/inherited")


def inherited_in(answer: bytes | None) -> list[RunRecord]:
    """Read the answer to `read_inherited`."""
    return [] if answer is None else [RunRecord(**fields) for fields in json.loads(answer)]


def extend_call(study_id: str, num_extensions: int, extension: "Extension") -> Call:
    """Add runs to a study that has been extended this many times."""
    return call_script(
        "extend", study_id, num_extensions, encode_spec(extension.spec), extension.num_runs,
        extension.max_updates, extension.memory_bytes,
    )  # fmt: skip


def planned_in(trashed: Any) -> int:
    """Return how many runs a study in the trash has, from the answer to `read_trash`."""
    return int(hash_in(trashed).get("planned", b"0")) if trashed else 0


_LAYOUTS: Final = tuple(f"layout:{kind}" for kind in KINDS)
_META: Final = tuple(chain.from_iterable((f"layout:{kind}", f"rows:{kind}") for kind in KINDS))


def read_rows_of(namespace: str, study_id: str, indices: Sequence[int]) -> list[Call]:
    return [
        command("HMGET", record_key(namespace, run_id(study_id, index)), *_META)
        for index in indices
    ]


def free_runs(
    namespace: str,
    study_id: str,
    indices: Sequence[int],
    metas: Sequence[Sequence[bytes | None]],
) -> Iterator[list[Call]]:
    """Yield the calls that free these runs' rows and records, in batches that do not hold up the
    server."""
    names: list[str] = []
    for index, meta in zip(indices, metas, strict=True):
        name = run_id(study_id, index)
        for place, kind in enumerate(KINDS):
            names += _chunks(namespace, name, kind, *meta[2 * place : 2 * place + 2])
        names.append(record_key(namespace, name))
    for start in range(0, len(names), UNLINK_BATCH):
        yield [command("UNLINK", *names[start : start + UNLINK_BATCH])]


def _chunks(
    namespace: str, name: str, kind: HistoryKind, layout: bytes | None, rows: bytes | None
) -> Iterator[str]:
    if layout is not None and rows is not None:
        for chunk in chunk_names(decode_layout(layout), kind, int(rows)):
            yield f"{namespace}:rows:{name}:{chunk}"


def free_rest(
    namespace: str, study_id: str, tasks: Collection[bytes], bundled: Collection[bytes]
) -> Iterator[list[Call]]:
    """Yield the calls that free what `read_rest` found, and last of all the study's place in the
    trash."""
    key = record_key(namespace, study_id)
    names = [f"{namespace}:rows:{bundle.decode()}" for bundle in bundled]
    names += [record_key(namespace, task.decode()) for task in tasks]
    for start in range(0, len(names), UNLINK_BATCH):
        yield [command("UNLINK", *names[start : start + UNLINK_BATCH])]
    yield [
        command(
            "UNLINK",
            *(f"{key}/{what}" for what in ("tasks", "open", "bundles", "ended", "inherited")),
        ),
        command("UNLINK", f"{namespace}:trash:{study_id}"),
        command("SREM", f"{namespace}:trash", study_id),
    ]
