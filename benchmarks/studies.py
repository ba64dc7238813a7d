"""Studies beside what people use instead: Optuna's loop, JAX's `vmap`, runs one after another.

The service has as many workers as the machine has cores, as its operator would start it; JAX uses
all cores too. Both are warm: the compilation of JAX is reported beside.
"""

import json
import os
import subprocess
import sys
from statistics import median
from time import perf_counter
from typing import Any, Final

from benchmarks.service import Client, digits_job, running_service
from benchmarks.table import Figure

Json = dict[str, Any]
RUNS: Final = 64
ROUNDS: Final = 3
OPTUNA_TRIALS: Final = {2200: 8, 220: 64}
"""Trials that are really run; a study of 64 takes as many times as long: they follow each other."""
STARTS: Final = 1000


def program(module: str, case: Json) -> Json | float:
    """Run a reference program, and return what it prints, as JSON."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", json.dumps(case)],
        check=True,
        capture_output=True,
        text=True,
    )
    answer: Json | float = json.loads(done.stdout)
    return answer


def study_seconds(service: Client, study: Json) -> float:
    """Measure the seconds from the POST to the end of a study whose runs must all succeed."""
    begin = perf_counter()
    study_id = service.json("POST", "/v1/studies", study)["id"]
    while True:
        found = service.json("GET", f"/v1/studies/{study_id}?wait=60")
        if found["finished_at"] is not None:
            break
    seconds = perf_counter() - begin
    if found["status"] != "succeeded":
        raise RuntimeError(f"{study_id} ended as {found['status']}: {found['error']}")
    return seconds


def rates(steps: int) -> Json:
    """64 learning rates of Adam on the digits MLP."""
    sweep = {"optimizer.lr": {"log": [1e-4, 1e-1], "count": RUNS}}
    return {"base": digits_job(budget={"max_steps": steps}), "sweep": sweep}


def beside_optuna_and_jax(service: Client, steps: int, optuna_goal: float) -> list[Figure]:
    study = rates(steps)
    study_seconds(service, study)
    pairs = []
    cold = 0.0
    for _ in range(ROUNDS):
        ours = study_seconds(service, study)
        jax = program("jax_study", {"runs": RUNS, "steps": steps})
        assert isinstance(jax, dict)
        cold = jax["cold"]
        pairs.append((ours, jax["warm"]))
    trials = OPTUNA_TRIALS[steps]
    usual = program("optuna_study", {"trials": trials, "steps": steps})
    assert isinstance(usual, float)
    usual *= RUNS / trials
    ours = median(a for a, _ in pairs)
    measured = f"{trials} of {RUNS} trials run" if trials < RUNS else "every trial run"
    return [
        Figure(
            name=f"{RUNS} rates of Adam, {steps:,} steps, POST to the end, beside Optuna",
            ours=f"{ours:.2f} s ({ours / RUNS / steps * 1e6:.0f} µs a step of a run)",
            reference=f"{usual:.1f} s ({measured})",
            value=ours / usual,
            goal=optuna_goal,
        ),
        Figure(
            name=f"{RUNS} rates of Adam, {steps:,} steps, beside JAX vmap + scan, warm",
            ours=f"{ours:.2f} s, nothing to compile",
            reference=f"{median(b for _, b in pairs):.2f} s; {cold:.1f} s cold",
            value=median(a / b for a, b in pairs),
            goal=1.3,
        ),
    ]


def beside_two_processes(service: Client) -> Figure:
    """A larger model: fused gains little; it must not lose against one process a core."""
    steps, runs = 60, 8
    base = digits_job(batch_size=256, budget={"max_steps": steps})
    base["problem"]["model"] = {"kind": "mlp", "hidden": [512, 512, 512]}
    study = {"base": base, "sweep": {"optimizer.lr": {"log": [1e-4, 1e-2], "count": runs}}}
    case = {
        "hidden": [512, 512, 512], "batch": 256, "steps": steps * runs // 2, "threads": 1,
        "samples": None, "features": 64,
    }  # fmt: skip
    study_seconds(service, study)
    pairs = [(study_seconds(service, study), side_by_side(case)) for _ in range(ROUNDS)]
    return Figure(
        name=f"{runs} runs of MLP 3 × 512, batch 256, beside two processes on a core each",
        ours=f"{median(a for a, _ in pairs):.2f} s",
        reference=f"{median(b for _, b in pairs):.2f} s with DataLoader and .item()",
        value=median(a / b for a, b in pairs),
        goal=1.0,
    )


def side_by_side(case: Json) -> float:
    """Seconds that two hand-written loops take at the same time, each half of the steps."""
    command = [sys.executable, "-m", "benchmarks.usual_loop", json.dumps(case)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    steps: int = case["steps"]
    return max(float(each.communicate()[0]) * steps for each in both)


def many_starts(service: Client, every: int) -> Figure:
    """1,000 starts of a 10-dimensional function, 1,000 steps each, of which every `every`th row is
    recorded: all of them are 13 million numbers, which take longer to store than to compute."""
    base: Json = {
        "problem": {
            "kind": "function",
            "function": {"kind": "rastrigin", "dim": 10},
            "start": {"kind": "uniform", "low": -5.12, "high": 5.12},
        },
        "optimizer": {"kind": "adam", "lr": 0.05},
        "budget": {"max_steps": 1000},
        "record": {"every": every},
    }
    study = {"base": base, "sweep": {}, "repeats": STARTS}
    study_seconds(service, study)
    ours = median(study_seconds(service, study) for _ in range(ROUNDS))
    alone = []
    for seed in range(10):
        begin = perf_counter()
        service.run_job(base | {"seed": seed, "diagnose": "off"})
        alone.append(perf_counter() - begin)
    whole = STARTS * median(alone)
    return Figure(
        name=(
            f"{STARTS:,} starts of Rastrigin in 10 dimensions, 1,000 steps, POST to the end,"
            f" record.every {every}"
        ),
        ours=f"{ours:.2f} s",
        reference=f"{whole:.0f} s one after another, as jobs (10 of them run)",
        value=ours / whole,
        goal=1 / 200,
    )


def measure() -> list[Figure]:
    """All figures of studies, on one service."""
    with running_service(workers=os.cpu_count() or 1) as service:
        return [
            *beside_optuna_and_jax(service, 2200, 1 / 20),
            *beside_optuna_and_jax(service, 220, 1 / 10),
            beside_two_processes(service),
            many_starts(service, 1),
            many_starts(service, 100),
        ]
