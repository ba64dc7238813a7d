"""Makes words by which records are packed: `packing_words.py > core/store/words/N.txt`.

zlib takes them for what went before (a preset dictionary): what a record has in common
with them costs a few bytes. They are what jobs of several kinds left in a running service, each
finding and each part once, numbers set to 0, what is most usual last. A file that has been in use
must stay as it is, since what was packed by it is read by it: this makes a new one, with a number
of its own.
"""

import json
import re
import sys
from collections.abc import Iterator
from typing import Any, Final

from benchmarks.service import digits_job, running_service

Json = dict[str, Any]
MOST_BYTES: Final = 2**14


def function(kind: str, lr: float, steps: int, optimizer: str = "adam") -> Json:
    return {
        "problem": {"kind": "function", "function": {"kind": kind}},
        "optimizer": {"kind": optimizer, "lr": lr},
        "budget": {"max_steps": steps},
    }


def data(name: str, model: Json, **changes: Any) -> Json:
    problem = {
        "kind": "supervised",
        "data": {"kind": "builtin", "name": name},
        "model": model,
    }
    return digits_job(problem=problem, **changes)


JOBS: Final[tuple[Json, ...]] = (
    function("rosenbrock", 1e-4, 300),
    function("rastrigin", 0.05, 300),
    function("himmelblau", 0.5, 100, "sgd"),
    function("sphere", 1.1, 200, "sgd"),
    function("sphere", 0.2, 200, "sgd"),
    data("diabetes", {"kind": "linear"}, optimizer={"kind": "sgd", "lr": 0.01}),
    data("iris", {"kind": "linear"}, optimizer={"kind": "sgd", "lr": 0.5}, batch_size="full"),
    data("wine", {"kind": "mlp", "hidden": [16]}, budget={"max_steps": 400}),
    digits_job(budget={"max_steps": 1000}),
    digits_job(budget={"max_steps": 100}),
    digits_job(budget={"max_steps": 20}),
)
_NUMBER: Final = re.compile(r"(?<=[ :\[(-])\d+(\.\d+)?(e[-+]?\d+)?")
_DIGEST: Final = re.compile("[0-9a-f]{64}")


def parts_of(job: Json, checkpoints: list[Json]) -> Iterator[tuple[str, str]]:
    """Yield texts of a job as its record has them, each with what makes it worth having again."""
    for finding in (job["diagnosis"] or {}).get("findings", ()):
        yield f"{finding['rule']} {_NUMBER.sub('', finding['explanation'])}", text_of(finding)
    problem = job["spec"]["problem"]
    yield f"checkpoints {problem['kind']}", text_of(checkpoints)
    yield (
        f"spec {problem['kind']} {job['spec']['optimizer']['kind']}",
        json.dumps(job["spec"], separators=(",", ":")),
    )


def text_of(value: Any) -> str:
    """Write JSON as records have it, without numbers and digests."""
    text = json.dumps(value, separators=(",", ":"))
    return _DIGEST.sub("", re.sub(r"(?<=[:\[,])-?\d+(\.\d+)?(e[-+]?\d+)?", "0", text))


def main() -> None:
    """Run the jobs and print the words."""
    found: dict[str, str] = {}
    with running_service() as service:
        for spec in JOBS:
            job = service.run_job(spec)
            listed = service.json("GET", f"/v1/jobs/{job['id']}/checkpoints")["data"]
            for key, text in parts_of(job, listed):
                found.pop(key, None)
                found[key] = text
    words = ",".join(found.values())
    sys.stderr.write(f"{len(found)} parts, {len(words)} bytes\n")
    sys.stdout.write(words[-MOST_BYTES:])


if __name__ == "__main__":
    main()
