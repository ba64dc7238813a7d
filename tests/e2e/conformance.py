"""The service against its own OpenAPI document: `python -m tests.e2e.conformance`.

schemathesis makes the calls: at the bounds of every schema (its phase of coverage), at random, and
in chains that follow from the document. Records of every kind are there before, and first of all
every call that reads is made with every one of them. No reply may be a 5xx, or differ from the
document in its status, media type, headers or body; what breaks the document must be refused.
Afterwards the service's own counts must show that every operation was done at least once.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from json import dumps
from pathlib import Path
from typing import Final

import schemathesis
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.client import Json, Service, serving
from tests.e2e.records import JOBS, STUDIES, Ids, prepare, settle
from tests.webhook_receiver import Answer, receiving

Counts = Counter[tuple[str, str, int]]
"""(method, path of the document, status) -> how many requests."""

STREAMS: Final = ("stream_job_events", "stream_study_events", "stream_events")
CHANGES: Final = ("cancel", "change", "delete", "enqueue", "extend", "pause", "resume")
"""First words of operations that are made with spare records."""
NOUNS: Final = {
    "job_id": "job", "study_id": "study", "data_id": "data", "delivery_id": "msg",
    "prediction_id": "pred",
}  # fmt: skip
"""Parameters of paths that name a record, and its noun."""
CLONED: Final = {"create_job": "job", "create_study": "study"}
"""Operations whose bodies may name a record, `from` which another is made, and its noun."""
VALUES: Final = {
    "index": ["0", "1"],
    "kind": ["cosine", "step"],
    "family": ["optimizers", "models", "metrics"],
}
"""Parameters of paths that name something else."""

ACCEPTED: Final = ("2xx", 304, 401, 403, 404, 409, 412, 416, 422, 429)
"""Replies to what fits its schema: rules across fields and lengths of files stand elsewhere."""
REFUSED: Final = (400, 404, 405, 406, 409, 413, 415, 416, 422, 431)
"""Replies to what does not."""


def counts_of(service: Service) -> Counts:
    """Read the service's own count of its requests."""
    found: Counts = Counter()
    for family in text_string_to_metric_families(service.http.get("/metrics").text):
        if family.name == "thalweg_http_requests":
            for sample in family.samples:
                each = sample.labels
                found[each["method"], each["route"], int(each["status"])] += int(sample.value)
    return found


def read_all(service: Service, document: Json, ids: Ids) -> list[str]:
    """Make every call that reads with every record, and with each value of each parameter that has
    a closed set of them; return what does not fit the document."""
    schema = schemathesis.openapi.from_dict(document)
    wrong = []
    for path, operations in document["paths"].items():
        if "get" not in operations or path.endswith("/events"):
            continue
        noun = next((noun for name, noun in NOUNS.items() if f"{{{name}}}" in path), None)
        for id_ in [""] if noun is None else getattr(ids, noun):
            named = dict.fromkeys(NOUNS, id_) | {name: each[0] for name, each in VALUES.items()}
            for query in queries_of(operations["get"]):
                if path.startswith("/v1/comparison"):
                    query["job"] = ids.job[:3]
                reply = service.http.get(path.format(**named), params=query)
                case = schema[path]["GET"].Case(path_parameters=named, query=query)
                try:
                    case.validate_response(reply)
                except schemathesis.errors.FailureGroup as group:
                    wrong.append(f"{reply.url}: {'; '.join(map(str, group.exceptions))}")
    return wrong


def queries_of(operation: Json) -> Iterator[dict[str, str | list[str]]]:
    """Yield no query, and each value of each parameter that has a closed set of them."""
    yield {}
    for each in operation.get("parameters", ()):
        if each["in"] == "query":
            for value in each["schema"].get("enum", ()):
                yield {each["name"]: str(value)}


def configuration(document: Json, ids: Ids) -> str:
    """Write schemathesis' configuration: it finds real ids, and streams without an end are cut."""
    lines = [
        f"checks.positive_data_acceptance.expected-statuses = {dumps(ACCEPTED)}",
        f"checks.negative_data_rejection.expected-statuses = {dumps(REFUSED)}",
    ]
    given = {noun: getattr(ids, noun) for noun in NOUNS.values()}
    given |= {f"spare_{noun}": ids.spare.get(noun, []) for noun in NOUNS.values()} | VALUES
    for name, values in given.items():
        lines += [f"[dictionaries.{name}]", f"values = {dumps(values or ['none'])}"]
    for operations in document["paths"].values():
        for operation in operations.values():
            name = operation["operationId"]
            lines += ["[[operations]]", f"include-operation-id = {dumps(name)}"]
            lines += [
                f"request-timeout = {0.3 if name in STREAMS else 70}",
                "max-stream-events = 5",
            ]
            spare = "spare_" if name.startswith(CHANGES) else ""
            if name in CLONED:
                lines.append(f'parameters."body.from" = {{dictionary = "{CLONED[name]}"}}')
            for each in operation.get("parameters", ()):
                if each["in"] == "path":
                    noun = NOUNS.get(each["name"])
                    source = each["name"] if noun is None else f"{spare}{noun}"
                    chosen = f'{{dictionary = "{source}", probability = 0.7}}'
                    lines.append(f'parameters."path.{each["name"]}" = {chosen}')
    return "\n".join([*lines, ""])


def fuzz(
    service: Service,
    document: Json,
    ids: Ids,
    folder: Path,
    *,
    examples: int,
    operations: Collection[str] = (),
) -> tuple[int, str]:
    """Have schemathesis make its calls, the same each time; return its exit status and all that it
    said.

    Args:
        examples: calls at random, of each operation.
        operations: those that are called; none: all.
    """
    (folder / "schemathesis.toml").write_text(configuration(document, ids), "utf-8")
    address = str(service.http.base_url).rstrip("/")
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "--no-color"),
        *("--config-file", "schemathesis.toml", "run", f"{address}/openapi.json"),
        *("--phases", "coverage,fuzzing,stateful", "--continue-on-failure"),
        *("--max-examples", str(examples), "--generation-deterministic", "--no-shrink"),
        *("--suppress-health-check", "all", "--warnings", "off"),
        *(word for each in operations for word in ("--include-operation-id", each)),
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def not_done(document: Json, counts: Counts) -> list[str]:
    """List the operations that were never done with success, and all that ended in a 5xx."""
    found = [f"{method} {path}: {status}" for method, path, status in counts if status >= 500]
    for path, operations in document["paths"].items():
        found += [
            f"{method.upper()} {path}: never done"
            for method in operations
            if not any(counts[method.upper(), path, status] for status in range(200, 300))
        ]
    return found


@contextmanager
def service_with_webhooks(folder: Path) -> Iterator[tuple[Service, str]]:
    """Run a service whose webhooks reach a receiver here; yield both, the receiver by its URL. No
    attempt of a job takes long, and some of its deliveries are refused."""
    settings = {
        "THALWEG_WEBHOOK_ALLOW": "127.0.0.1",
        "THALWEG_MAX_JOB_SECONDS": "20",
        "THALWEG_STREAM_PING_S": "0.2",
    }
    os.environ |= settings
    try:
        with receiving() as receiver, serving(folder, workers=2) as service:
            receiver.answers["/hook/no"] = [Answer(410)]
            command = [sys.executable, "-m", "thalweg_service", "webhooks", "secret", "add"]
            subprocess.run([*command, "--data-dir", str(folder)], check=True, capture_output=True)
            yield service, receiver.url("/hook")
    finally:
        for name in settings:
            del os.environ[name]


def main() -> int:
    """Try it on a service of its own; return 0 when nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.conformance")
    parser.add_argument("--examples", type=int, default=30)
    chosen = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as name,
        service_with_webhooks(Path(name) / "data") as (service, hook),
    ):
        began = time.monotonic()

        def say(words: str) -> None:
            sys.stdout.write(f"{time.monotonic() - began:5.0f} s  {words}\n")
            sys.stdout.flush()

        ids = prepare(service, JOBS, STUDIES, hook)
        say(f"{len(ids.job)} jobs and {len(ids.study)} studies are there")
        document = service.http.get("/openapi.json").json()
        wrong = read_all(service, document, ids)
        say(f"all calls that read were made with all of them: {len(wrong)} replies do not fit")
        status, words = fuzz(service, document, ids, Path(name), examples=chosen.examples)
        settle(service)
        say(words)
        counts = counts_of(service)
        wrong += not_done(document, counts)
        say(f"{counts.total()} requests; schemathesis ended with status {status}")
        sys.stdout.write("".join(f"{each}\n" for each in wrong))
    return int(bool(status or wrong))


if __name__ == "__main__":
    sys.exit(main())
