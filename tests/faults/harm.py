"""What can be done to a running service: each kind of fault, and a seeded schedule of them."""

import json
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import redis

from tests.faults.stack import Part, Stack

Harm = Callable[[Stack, random.Random], None]


def _signal(pid: int | None, number: signal.Signals) -> None:
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _pause(pid: int | None, seconds: float) -> None:
    """SIGSTOP now and SIGCONT later, without holding up the schedule."""
    _signal(pid, signal.SIGSTOP)
    later = threading.Timer(seconds, _signal, (pid, signal.SIGCONT))
    later.daemon = True
    later.start()


def _any_worker(stack: Stack, dice: random.Random) -> Part:
    return dice.choice(stack.workers)


def kill_worker(stack: Stack, dice: random.Random) -> None:
    _signal(_any_worker(stack, dice).pid, signal.SIGKILL)


def kill_trainer(stack: Stack, dice: random.Random) -> None:
    _signal(_any_worker(stack, dice).child(), signal.SIGKILL)


def stop_worker(stack: Stack, dice: random.Random) -> None:
    """Longer than a short lease: its job is taken from it, and it comes back to a stale token."""
    _pause(_any_worker(stack, dice).pid, dice.uniform(0.2, 3.0))


def stop_trainer(stack: Stack, dice: random.Random) -> None:
    _pause(_any_worker(stack, dice).child(), dice.uniform(0.2, 3.0))


def roll_worker(stack: Stack, dice: random.Random) -> None:
    """A rolling deploy: SIGTERM, the job is handed over."""
    _signal(_any_worker(stack, dice).pid, signal.SIGTERM)


def kill_api(stack: Stack, dice: random.Random) -> None:
    _signal(stack.api.pid, signal.SIGKILL)


def stop_api(stack: Stack, dice: random.Random) -> None:
    _pause(stack.api.pid, dice.uniform(0.2, 2.0))


def kill_server(stack: Stack, dice: random.Random) -> None:
    _signal(stack.server.pid, signal.SIGKILL)


def stop_server(stack: Stack, dice: random.Random) -> None:
    _pause(stack.server.pid, dice.uniform(0.2, 3.0))


def drop_connections(stack: Stack, dice: random.Random) -> None:
    """Every client's connection is cut; those that listen for messages too."""
    with suppress(redis.RedisError), stack.redis() as client:
        for kind in ("normal", "pubsub"):
            client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")


def _queue_keys(client: "redis.Redis", mark: str) -> list[bytes]:
    return [key for key in client.scan_iter(f"{mark}:celery:*") if client.type(key) == b"list"]


def lose_messages(stack: Stack, dice: random.Random) -> None:
    """Every message that waits in the broker is gone."""
    with suppress(redis.RedisError), stack.redis() as client:
        for key in _queue_keys(client, stack.mark):
            client.delete(key)


def double_messages(stack: Stack, dice: random.Random) -> None:
    """The last message that went through comes again, five times."""
    with suppress(redis.RedisError), stack.redis() as client:
        message = client.get("trial:last-message")
        for key in _queue_keys(client, stack.mark):
            message = client.lindex(key, 0) or message
            client.set("trial:last-message", message)
        if message:
            client.lpush(f"{stack.mark}:celery:thalweg", *[message] * 5)


HARMS: dict[str, tuple[Harm, float]] = {
    "SIGKILL worker": (kill_worker, 2.0),
    "SIGKILL trainer": (kill_trainer, 2.0),
    "SIGSTOP worker": (stop_worker, 4.0),
    "SIGSTOP trainer": (stop_trainer, 2.0),
    "SIGTERM worker": (roll_worker, 1.0),
    "SIGKILL API": (kill_api, 1.0),
    "SIGSTOP API": (stop_api, 1.0),
    "SIGKILL server": (kill_server, 1.5),
    "SIGSTOP server": (stop_server, 1.5),
    "connections dropped": (drop_connections, 2.0),
    "messages lost": (lose_messages, 1.0),
    "messages doubled": (double_messages, 1.0),
}
"""Name -> what it does, and its weight in the draw."""


@dataclass(frozen=True)
class Blow:
    after_s: float
    name: str


def schedule(dice: random.Random, num: int, mean_gap_s: float) -> Iterator[Blow]:
    """`num` faults at exponentially distributed gaps."""
    names, weights = list(HARMS), [weight for _, weight in HARMS.values()]
    for _ in range(num):
        yield Blow(dice.expovariate(1 / mean_gap_s), dice.choices(names, weights)[0])


def slow_disk(seconds: float) -> dict[str, str]:
    """Environment of a worker whose files take long to reach the disk (see `sitecustomize.py`)."""
    return _handicap({"fsync_s": seconds})


def skewed_clock(seconds: float) -> dict[str, str]:
    """Environment of a worker whose wall clock is wrong by this much."""
    return _handicap({"clock_s": seconds})


def _handicap(settings: dict[str, float]) -> dict[str, str]:
    folder = str(Path(__file__).parent / "handicap")
    path = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH", "")]))
    return {"PYTHONPATH": path, "THALWEG_TEST_HANDICAP": json.dumps(settings)}
