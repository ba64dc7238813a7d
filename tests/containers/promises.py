"""What docs/containers.md promises, a function each; each prints its promise with its figure."""

import json
import re
import shutil
import time
from pathlib import Path
from typing import Final

from tests.containers.engine import API, PROJECT, ROOT, WORKER, Images, Json, Stack, run, until

DIGITS: Final[Json] = {
    "problem": {
        "kind": "supervised",
        "data": {"kind": "builtin", "name": "digits", "eval_fraction": 0.2},
        "model": {"kind": "mlp", "hidden": [32]},
    },
    "optimizer": {"kind": "adam"},
    "budget": {"max_steps": 500},
}
LONG: Final[Json] = {
    **DIGITS,
    "budget": {"max_steps": 20_000},
    "record": {"every": 20},
    "checkpoint": {"every_steps": 500},
}
LARGE: Final[Json] = {
    **DIGITS,
    "problem": {**DIGITS["problem"], "model": {"kind": "mlp", "hidden": [6000, 6000]}},
    "max_attempts": 2,
}
STUDY: Final[Json] = {
    "base": {**DIGITS, "budget": {"max_steps": 50}},
    "sweep": {"optimizer.lr": {"log": [0.001, 1.0]}},
    "strategy": {"kind": "tpe", "num_runs": 12},
}


def told(promise: str, figure: object = "") -> None:
    print(f"ok  {promise}" + (f": {figure}" if figure != "" else ""), flush=True)


def megabytes(size: float) -> str:
    return f"{size / 1e6:,.1f} MB"


def images_are_built(images: Images) -> None:
    for target, tag in (("api", API), ("worker", WORKER)):
        took = images.build(target, tag)
        told(f"{target} is built", f"{took:.0f} s, {megabytes(images.facts(tag)['Size'])}")
        print("    layers: " + ", ".join(map(megabytes, images.layer_sizes(tag))))


def a_line_makes_one_layer(images: Images, folder: Path) -> None:
    source = folder / "changed"
    left_out = shutil.ignore_patterns(
        ".git", ".venv", ".*_cache", "__pycache__", "node_modules", "tests", "docs"
    )
    shutil.copytree(ROOT, source, ignore=left_out)
    with (source / "core" / "ids.py").open("a") as file:
        file.write(f"# changed at {time.time()}\n")
    images.build("worker", f"{WORKER}:changed", source)
    before, after = (images.facts(tag)["RootFS"]["Layers"] for tag in (WORKER, f"{WORKER}:changed"))
    changed = [one != two for one, two in zip(before, after, strict=True)]
    assert changed == [False] * (len(before) - 1) + [True], changed
    told("a changed line makes one layer", megabytes(images.layer_sizes(f"{WORKER}:changed")[0]))
    shared = len(set(before) & set(images.facts(API)["RootFS"]["Layers"]))
    told("the API and a worker share layers", shared)


def images_hold_what_they_should(images: Images) -> None:
    look = (
        "id -u; python -c 'import pip' 2>&1 | tail -1; command -v pip;"
        " find / -xdev -type d -name tests -path '*-packages*' 2>/dev/null;"
        " touch /opt/thalweg/x 2>&1"
    )
    for tag, torch in ((API, "No module named 'torch'"), (WORKER, "2.13.0")):
        see = f"{look}; python -c 'import torch; print(torch.__version__)' 2>&1 | tail -1"
        said = run("docker", "run", "--rm", "--network", "none", tag, "sh", "-c", see).split("\n")
        assert said[:2] == ["10001", "ModuleNotFoundError: No module named 'pip'"], said
        assert "Permission denied" in said[2], said
        assert torch in said[3], said
        labels = images.facts(tag)["Config"]["Labels"]
        assert labels["org.opencontainers.image.version"] == "0.1.0"
    told("not root, no pip, no tests of packages, labels, torch in the worker only")


def it_serves(stack: Stack) -> None:
    assert stack.get("/readyz")["workers"] == 1
    job = stack.end(f"/v1/jobs/{stack.post('/v1/jobs', DIGITS)}")
    assert job["status"] == "succeeded", job
    study = stack.end(f"/v1/studies/{stack.post('/v1/studies', STUDY)}")
    assert study["status"] == "succeeded", study
    status, picture = stack.ask("GET", f"{job['links']['self']}/plot?kind=loss&format=png")
    assert (status, picture[:4]) == (200, b"\x89PNG")
    told("a job and a study succeed, a picture is drawn", job["result"]["eval"])


def it_carries_the_page(stack: Stack) -> None:
    status, page = stack.ask("GET", "/")
    assert status == 200, page
    files = re.findall(r'(?:src|href)="(/[^"]+\.(?:js|css))"', page.decode())
    assert files, page
    for file in files:
        status, content = stack.ask("GET", file)
        assert (status, bool(content)) == (200, True), file
    told("the page that the image's own stage built is served", ", ".join(files))


def settings_reach_it(stack: Stack) -> None:
    for part in ("api", "worker-cpu"):
        assert "THALWEG_LOG_LEVEL=debug" in stack.inside(part, "env")
    call = "import urllib.request as u; print(u.urlopen('http://api:8000/v1/jobs').status)"
    network = f"{PROJECT}_default"
    said = run("docker", "run", "--rm", "--network", network, API, "python", "-c", call)
    assert said.strip() == "200"
    told("thalweg.env reaches API and workers; another container's call is answered")


def it_is_fenced_in(stack: Stack) -> None:
    for part in ("api", "worker-cpu"):
        said = stack.inside(part, "touch /x /var/lib/thalweg/x; touch /tmp/y && echo written")
        assert said.count("Read-only file system") == 2, said
        assert "written" in said
        status = stack.inside(part, "cat /proc/1/status").split()
        assert int(status[status.index("CapEff:") + 1], 16) == 0
        assert status[status.index("NoNewPrivs:") + 1] == "1"
        facts = json.loads(run("docker", "inspect", f"{PROJECT}-{part}-1"))[0]["HostConfig"]
        assert facts["PidsLimit"] == 1024
        assert facts["LogConfig"]["Config"] == {"max-file": "5", "max-size": "10m"}
        assert facts["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 10}
    used = run("docker", "stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}")
    told("read-only root, no rights, limits, logs that turn over", " | ".join(used.splitlines()))


def a_stopped_worker_hands_over(stack: Stack) -> None:
    path = stack.begun(LONG, 1000)
    began = time.monotonic()
    stack.compose("stop", "worker-cpu")
    took = time.monotonic() - began
    job = stack.get(path)
    assert [attempt["end"] for attempt in job["attempts"]] == ["handed_over"], job
    assert job["progress"]["waiting_for"] == "no_worker"
    stack.compose("start", "worker-cpu")
    until("it goes on", lambda: stack.get(path)["status"] == "running")
    stack.ask("POST", f"{path}/cancel", {})
    stack.end(path)
    told("a worker that is stopped hands its job over", f"{took:.1f} s")


def an_outage_is_trained_through(stack: Stack) -> None:
    path = stack.begun(LONG, 1000)
    stack.compose("stop", "redis")
    until("it is not ready", lambda: "1" in stack.inside("worker-cpu", _health("ready")), 60)
    assert "0" in stack.inside("worker-cpu", _health("live"))
    assert stack.ask("GET", "/livez")[0] == 200
    assert stack.ask("GET", "/readyz")[0] == 503
    stack.compose("start", "redis")
    job = stack.end(path)
    assert (job["status"], len(job["attempts"])) == ("succeeded", 1), job
    told("a job trains through an outage of the server; live stays 0, ready is 1 meanwhile")


def _health(kind: str) -> str:
    return f"thalweg health worker --{kind} >/dev/null 2>&1; echo $?"


def a_backup_is_restored(stack: Stack, folder: Path) -> None:
    """As docs/containers.md says it: both volumes, at work, the server's first."""
    done = stack.end(f"/v1/jobs/{stack.post('/v1/jobs', LONG)}")
    twin, kept = done["links"]["self"], stack.weights(done["links"]["self"])
    path = stack.begun(LONG, 2000)
    saved = "tar -C / --numeric-owner -cf /backup/thalweg.tar redis artifacts || test $? = 1"
    stack.volumes(folder, saved, read_only=True)
    size = (folder / "thalweg.tar").stat().st_size
    stack.compose("down", "--volumes", "--timeout", "20")
    stack.compose("create", "--no-build")
    stack.volumes(folder, "tar -C / --numeric-owner -xpf /backup/thalweg.tar", read_only=False)
    stack.up()
    assert stack.get(twin) == done
    assert stack.weights(twin) == kept
    job = stack.end(path)
    assert [attempt["end"] for attempt in job["attempts"]] == ["lost", "finished"], job
    assert not [each for each in job["timeline"] if each["event"] == "restarted"]
    assert job["result"] == {**done["result"], "train_s": job["result"]["train_s"]}
    told("both volumes are backed up at work and restored as a pair", megabytes(size))


def a_folder_of_root_is_refused(stack: Stack, folder: Path) -> None:
    """A worker that may not write to its bind mount says so, and ends; once it may, it works."""
    mounted = folder / "mounted"
    mounted.mkdir()
    words = ("run", "--rm", "--no-deps", "--volume", f"{mounted}:/var/lib/thalweg/artifacts")
    said = stack.compose(*words, "worker-cpu", check=False)
    lines = [line for line in said.splitlines() if line.startswith("thalweg worker:")]
    assert len(lines) == 1, said
    assert "Artifacts cannot be written" in lines[0]
    run("docker", "run", "--rm", "--user", "0:0", "--volume", f"{mounted}:/x", API,
        "chown", "10001:10001", "/x")  # fmt: skip
    name = f"{PROJECT}-mounted"
    stack.compose(*words[:2], "--detach", "--name", name, *words[2:], "worker-cpu")
    try:
        until("it is ready", lambda: "is ready" in run("docker", "logs", name))
    finally:
        run("docker", "stop", name, check=False)
    told("a bind mount of root's is refused in one line", lines[0])


def a_gpu_that_is_not_there_is_refused(stack: Stack) -> None:
    began = time.monotonic()
    words = ("run", "--rm", "--no-deps", "worker-cpu", "thalweg", "worker", "--device", "cuda")
    said = stack.compose(*words, check=False)
    took = time.monotonic() - began
    lines = [line for line in said.splitlines() if line.startswith("thalweg worker:")]
    assert len(lines) == 1, said
    told(f"a device that is not there is refused in {took:.1f} s", lines[0])


def a_memory_limit_is_named(stack: Stack) -> None:
    limit = {"THALWEG_WORKER_MEMORY": "700m"}
    stack.up("worker-cpu", variables=limit)
    job = stack.end(f"/v1/jobs/{stack.post('/v1/jobs', LARGE)}")
    assert job["status"] == "failed", job
    assert "memory" in job["error"]["message"], job["error"]
    told("a job that is killed for its memory says so", job["error"])
