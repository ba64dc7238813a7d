"""What trials of jobs and of studies share: callers that keep a service busy while faults fall, and
a look at what is left when all is deleted."""

import random
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from tests.faults.harm import HARMS, schedule
from tests.faults.jobs import TERMINAL, Client, Json
from tests.faults.stack import Stack, marked_processes, wait_for

PAUSED_SHARE = 0.4
"""Share of what is posted that is paused and resumed a few times."""
Posted = list[tuple[str, str]]
"""Template and id of each."""


def post_under_fire(
    stack: Stack,
    dice: random.Random,
    client: Callable[[str], Client],
    templates: Mapping[str, Json],
    *,
    seed: int,
    num_callers: int,
    cancelled_share: float,
    num_faults: int,
    mean_gap_s: float,
) -> tuple[Posted, list[tuple[float, str]]]:
    """What was posted as long as faults fell, and these: when, and which."""
    over = threading.Event()
    blows: list[tuple[float, str]] = []

    def keep_busy(number: int) -> Posted:
        with_dice = random.Random(f"{seed}/{number}")
        caller = client(stack.address)
        mark = f"{stack.mark}-{number}"
        posted = _keep_busy(caller, templates, with_dice, mark, over, cancelled_share)
        caller.close()
        return posted

    with ThreadPoolExecutor(num_callers) as pool:
        feeds = [pool.submit(keep_busy, number) for number in range(num_callers)]
        for blow in schedule(dice, num_faults, mean_gap_s):
            time.sleep(blow.after_s)  # the schedule itself, not a synchronization
            blows.append((time.time(), blow.name))
            HARMS[blow.name][0](stack, dice)
        over.set()
        return [one for feed in feeds for one in feed.result()], blows


def _keep_busy(
    client: Client,
    templates: Mapping[str, Json],
    dice: random.Random,
    mark: str,
    over: threading.Event,
    cancelled_share: float,
) -> Posted:
    """One caller: posts, sometimes pauses or cancels, waits, posts again."""
    posted: Posted = []
    while not over.is_set():
        name = dice.choice(list(templates))
        found = client.post(templates[name], f"{mark}-{len(posted)}")
        posted.append((name, found))
        if dice.random() < PAUSED_SHARE:
            _pause_and_resume(client, found, dice, over)
        if dice.random() < cancelled_share:
            over.wait(dice.uniform(0, 4))
            client.call("POST", f"/v1/{client.noun}/{found}/cancel")
        while client.get(found, wait_s=1)["status"] not in TERMINAL and not over.is_set():
            pass
    return posted


def _pause_and_resume(
    client: Client, found: str, dice: random.Random, over: threading.Event
) -> None:
    """Pause it, and resume it, whether the pause was reached by then or not."""
    path = f"/v1/{client.noun}/{found}"
    for _ in range(dice.randint(1, 3)):
        over.wait(dice.uniform(0, 1.5))
        client.call("POST", f"{path}/pause")
        over.wait(dice.uniform(0, 3))
        client.call("POST", f"{path}/resume")


def strangers(client: Client, posted: Posted) -> list[str]:
    """What is listed and was never acknowledged."""
    listed = client.body(f"/v1/{client.noun}", limit=200)["data"]
    unknown = {one["id"] for one in listed} - {found for _, found in posted}
    return [f"{found} was never acknowledged" for found in unknown]


def deleted(client: Client, stack: Stack, posted: Posted) -> list[str]:
    """Delete all; returns what is left over once attempts that were late have had their time: who
    finds that what it works for is gone removes what it wrote."""
    for _, found in posted:
        client.call("DELETE", f"/v1/{client.noun}/{found}")
    try:
        wait_for("nothing to be left", lambda: not _left(stack, posted), 60)
    except TimeoutError:
        return _left(stack, posted)
    return []


def _left(stack: Stack, posted: Posted) -> list[str]:
    ids = [found.encode() for _, found in posted]
    with stack.redis() as connection:
        keys = [
            f"key {key!r}"
            for key in connection.scan_iter(f"{stack.mark}:*")
            if any(each in key for each in ids)
        ]
    files = (path for path in (stack.folder / "artifacts").rglob("*") if path.is_file())
    return [*keys, *(f"file {path.name} of {path.parent.name}" for path in files)]


def processes_left(mark: str) -> list[str]:
    """Of a stack that has been stopped."""
    try:
        wait_for("the end of every process", lambda: not list(marked_processes(mark)), 60)
    except TimeoutError:
        return [f"process {pid}" for pid in marked_processes(mark)]
    return []
