"""The command `thalweg` as a user has it: run as a process, against a real service."""

import csv
import json
import math
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import jsonschema_rs
import pytest
import yaml
from typer.testing import CliRunner

from tests.client.flaky import FlakyProxy
from tests.client.shell import THALWEG, Shell
from tests.thalweg_service.running import until
from thalweg import Client
from thalweg.cli.app import OF_THE_SERVICE, app
from thalweg.cli.files import parse, read_spec

INTERRUPTIBLE: Final = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL);"
    " os.execv(sys.argv[1], sys.argv[1:])"
)
"""A program that starts another as a terminal does: what a shell has in its background ignores
interrupts, and hands that on."""
JOB: Final = """# a comment
problem:
  kind: function
  function: {kind: sphere, dim: 2}
  start: [1.0, -2.0]
optimizer: {kind: sgd, lr: 1e-1}
budget: {max_steps: 30}
"""


@pytest.fixture
def shell(address: str, tmp_path: Path) -> Shell:
    (tmp_path / "job.yaml").write_text(JOB)
    return Shell(address, tmp_path)


@pytest.fixture(scope="module")
def done(address: str) -> str:
    """The id of a job that has ended, for tests that read it."""
    with Client(address) as client:
        spec: Any = parse(JOB, "job.yaml")
        return client.jobs.create(spec).wait(60).id


def test_a_job_is_submitted_followed_and_read(shell: Shell, client: Client) -> None:
    (line,) = shell.run(
        "submit", "job.yaml", "--set", "optimizer.lr=0.2", "--watch"
    ).stdout.splitlines()
    job, status, outcome, loss = line.split("\t")
    assert (status, outcome) == ("succeeded", "budget_exhausted")
    assert float(loss) == pytest.approx(5.0 * 0.6**58, rel=1e-4)
    assert client.jobs.get(job).spec["optimizer"]["lr"] == 0.2
    shown = dict(row.split("\t") for row in shell.run("show", job).stdout.splitlines())
    assert (shown["id"], shown["optimizer"], shown["step"]) == (job, "sgd", "30 of 30")
    assert shell.json("show", job)["id"] == job
    assert shell.run("show", "last").stdout == shell.run("show", job).stdout
    assert shell.run("watch", job).stdout == line + "\n"
    assert shell.run("open", job).stdout.endswith(f"/jobs/{job}\n")


def test_json_and_a_pipe_have_what_programs_read(shell: Shell, done: str) -> None:
    rows = list(csv.DictReader(shell.run("history", done, "--csv").stdout.splitlines()))
    assert len(rows) == 30
    assert float(rows[1]["loss"]) == 5.0 * 0.8**2 or math.isclose(float(rows[1]["loss"]), 3.2)
    assert list(rows[0]) == ["step", "loss", "lr", "grad_norm", "x[0]", "x[1]"]
    assert shell.run("history", done).stdout == shell.run("history", done, "--csv").stdout
    assert shell.json("history", done, "--series", "loss")["step"] == list(range(30))
    newest = shell.json("submit", "job.yaml", "--watch")["id"]
    assert [each["id"] for each in shell.json("jobs", "-n", "1")] == [newest]
    assert shell.run("jobs", "--status", "succeeded", "-n", "1").stdout.startswith(
        f"{newest}\tsucceeded\t"
    )
    assert shell.json("--url", shell.environment["THALWEG_URL"], "workers")[0]["devices"] == ["cpu"]


def test_every_command_of_the_client_has_help_and_json(shell: Shell) -> None:
    listed = set(re.findall(r"^│ (\w+) ", shell.run("--help").stdout, re.MULTILINE))
    ours = listed - OF_THE_SERVICE - {"version", "study", "data", "webhooks"}
    assert {"submit", "jobs", "show", "watch", "history", "cancel", "pause", "continue"} < ours
    for name in sorted(ours):
        done = CliRunner().invoke(app, [name, "-h"])
        assert (done.exit_code, "--json" in done.stdout) == (0, True)


@pytest.mark.parametrize(
    ("typed", "option"),
    [
        (["--url", "http://127.0.0.1:1"], "--url"),
        (["--key", "thw_x"], "--key"),
        (["--json"], "--json"),
    ],
)
def test_what_is_typed_before_a_command_of_the_service_is_heeded_or_refused(
    typed: list[str], option: str
) -> None:
    words = {name: commands_in(app_command(name)) for name in sorted(OF_THE_SERVICE)}
    for name, leaves in words.items():
        for leaf, options in leaves:
            if option not in options:
                done = CliRunner().invoke(app, [*typed, name, *leaf])
                assert done.exit_code == 2, (name, leaf)
                assert f"No such option: {option}" in done.stderr
    assert {"doctor"} == {
        name for name, leaves in words.items() if any("--key" in found for _, found in leaves)
    }
    done = CliRunner().invoke(
        app, ["--url", "http://127.0.0.1:1", "--key", "thw_x", "--json", "doctor", "--no-jobs"],
        env={"THALWEG_URL": "http://127.0.0.1:2"},
    )  # fmt: skip
    found = {each["name"]: each["words"] for each in json.loads(done.stdout)}
    assert "http://127.0.0.1:1 " in found["service"]


def test_help_of_the_service_is_given_whatever_is_typed_before() -> None:
    for name in sorted(OF_THE_SERVICE):
        is_group = hasattr(app_command(name), "commands")
        for words in [[name, "--help"], [name, "-h"], *([[name]] if is_group else [])]:
            done = CliRunner().invoke(app, ["--url", "http://127.0.0.1:1", "--json", *words])
            assert f"Usage: thalweg {name}" in done.stdout + done.stderr
            assert "No such option" not in done.stderr


def app_command(name: str) -> Any:
    """Return a command of the service."""
    from typer.main import get_command

    group: Any = get_command(app)
    return group.get_command(None, name)


def commands_in(command: Any) -> list[tuple[list[str], set[str]]]:
    """List the commands below a command, or itself: the words that call it, and its options."""
    below = getattr(command, "commands", None)
    if below is None:
        return [([], {each for param in command.params for each in param.opts})]
    return [
        ([name, *words], options)
        for name, each in below.items()
        for words, options in commands_in(each)
    ]


def test_a_study_is_handled_by_the_commands_of_a_job(shell: Shell, client: Client) -> None:
    base = read_spec(shell.folder / "job.yaml") | {"budget": {"max_steps": 5_000_000}}
    spec: Any = {"base": base, "sweep": {"seed": {"values": [1, 2]}}, "name": "both"}
    study = client.studies.create(spec).id
    assert shell.run("pause", study).stdout == f"{study}\n"
    child = shell.run("clone", study, "-s", "base.budget.max_steps=3", "--watch").stdout.strip()
    assert client.studies.get(child).data["parent_id"] == study
    assert client.studies.get(child).clone({"repeats": 2}, name="twice").name == "twice"
    other = shell.run("study", "clone", child, "--watch").stdout.strip()
    assert client.studies.get(other).data["progress"]["num_runs"] == 2
    assert shell.json("show", child) == shell.json("study", "show", child)
    shell.run("resume", study)
    shell.run("cancel", study)
    shell.run("watch", study, status=3)
    assert shell.run("delete", study, "--yes").stdout == f"{study}\n"


def test_an_id_of_the_other_kind_is_told(shell: Shell, done: str) -> None:
    study = f"study_{'0' * 26}"
    for words in (["history"], ["weights"], ["diagnose"], ["apply"], ["continue", "--max-steps=9"]):
        said = shell.run(*words, study, status=1).stderr
        assert f"{study} is a study, and this is of jobs and of runs, such as {study}/0" in said
    for name in ("show", "pause", "runs", "clone", "best"):
        assert "leave the word `study` out" in shell.run("study", name, done, status=1).stderr


def test_webhooks_have_commands_of_the_client_and_of_the_service(shell: Shell) -> None:
    said = shell.run("webhooks", "--help").stdout
    listed = re.findall(r"^│ (\w+) ", said, re.MULTILINE)
    assert {"deliveries", "redeliver", "test", "secret"} <= set(listed)
    assert shell.json("webhooks", "deliveries", "--status", "failed") == []
    assert shell.run("webhooks", "deliveries").stdout == ""
    refused = shell.run("webhooks", "test", "https://10.0.0.1/T0PSECRET", status=1)
    assert "a private address" in refused.stderr
    unsigned = shell.run("webhooks", "test", "https://example.org/T0PSECRET", status=1)
    assert "thalweg webhooks secret add" in unsigned.stderr
    assert "T0PSECRET" not in refused.stderr + unsigned.stderr
    assert "not_found" in shell.run("webhooks", "redeliver", f"msg_{'0' * 26}", status=1).stderr


def test_a_job_goes_on_and_ends_on_command(shell: Shell, done: str, client: Client) -> None:
    (longer,) = shell.run("continue", done, "--max-steps", "40").stdout.splitlines()
    assert client.jobs.get(longer).wait(120).history()["step"].tolist() == list(range(30, 40))
    endless = shell.run("submit", "job.yaml", "--set", "budget.max_steps=5000000").stdout.strip()
    shell.run("watch", endless, "--timeout", "0.1", status=5)
    assert shell.run("pause", endless).stdout == f"{endless}\n"
    shell.run("resume", endless)
    shell.run("cancel", endless)
    shell.run("watch", endless, status=3)
    shell.run("delete", endless, status=2)
    assert shell.run("delete", endless, "--yes").stdout == f"{endless}\n"
    assert "not_found" in shell.run("show", endless, status=1).stderr
    again = shell.json("clone", done, "-s", "optimizer.lr=0.3", "-s", "seed=4", "--watch")
    assert (again["spec"]["optimizer"]["lr"], again["spec"]["seed"]) == (0.3, 4)
    compared = shell.run("compare", done, again["id"]).stdout.splitlines()
    assert len(compared) == 2
    assert "optimizer.lr=0.3 seed=4" in compared[1]
    assert shell.run("usage").stdout.splitlines()[-1].startswith("total\t")


def test_weights_diagnosis_and_remedy(shell: Shell, done: str) -> None:
    path = Path(shell.run("weights", done, "-o", "w.safetensors").stdout.strip())
    assert (shell.folder / path).stat().st_size > 50
    slow = shell.run("submit", "job.yaml", "-s", "optimizer.lr=1e-5", "-s", "budget.max_steps=300",
                     "-w").stdout.split("\t")[0]  # fmt: skip
    assert shell.run("diagnose", slow).stdout.startswith("too_slow")
    assert shell.json("diagnose", slow, "--full")["measured"] is not None
    child = shell.json("apply", slow, "0", "--watch")
    assert (child["parent_id"], child["status"]) == (slow, "succeeded")


def test_a_study_from_file_to_best(shell: Shell, client: Client) -> None:
    base = yaml.safe_load(JOB.replace("1e-1", "0.1"))
    study: Any = {"base": base, "sweep": {"optimizer.lr": {"values": [0.01, 0.1]}}}
    (shell.folder / "study.json").write_text(json.dumps(study))
    (made,) = shell.run("study", "submit", "study.json", "--watch").stdout.splitlines()
    assert client.studies.get(made).status == "succeeded"
    assert [run["params"] for run in shell.json("study", "runs", made, "--sort", "metric")] == [
        {"optimizer.lr": 0.1}, {"optimizer.lr": 0.01}
    ]  # fmt: skip
    best = shell.run("study", "best", made).stdout
    job = shell.run("submit", "-", "--watch", given=best).stdout
    assert "succeeded" in job
    assert "optimizer.lr=0.1" in shell.run("study", "comparison", made).stdout
    over = shell.run("study", "enqueue", made, "optimizer.lr=0.05", status=1).stderr
    assert "warm_start_from" in over
    told = shell.run("study", "importance", made)
    assert "optimizer.lr" in told.stdout or "configurations" in told.stdout
    rows = shell.run("history", f"{made}/1", "--csv").stdout.splitlines()
    assert len(rows) == 31
    assert made in shell.run("study", "list").stdout
    assert shell.json("study", "show", "last")["id"] == made
    shell.run("study", "watch", made)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["jbos"], "Did you mean 'jobs'?"),
        (["studdy"], "Did you mean 'study'?"),
        (["srve"], "Did you mean 'serve'?"),
        (["jobs", "--limt", "3"], "--limit"),
        (["catalog", "optimiser"], "Did you mean optimizers?"),
        (["catalog", "optimizers", "adm"], "Did you mean adam?"),
        (["continue", "last"], "--max-steps"),
        (["export", "last", "--to", "excel"], "tensorboard, csv, parquet"),
    ],
    ids=" ".join,
)
def test_a_typo_is_told_with_what_was_meant(
    words: list[str], said: str, shell: Shell, done: str
) -> None:
    assert said in shell.run(*words, status=2).stderr


def test_a_mistake_in_a_spec_is_told_without_a_trace(shell: Shell) -> None:
    done = shell.run("submit", "job.yaml", "--set", "optimizer.learning_rate=0.1", status=1)
    assert "optimizer.learning_rate = 0.1). Did you mean lr?" in done.stderr
    assert done.stdout == ""
    shell.run("submit", "job.yaml", "--set", "optimizer=adam", status=1)
    done = shell.run("submit", "job.yaml", "--set", "optimizer.lr=.nan", status=1)
    assert done.stderr == "thalweg: optimizer.lr is nan: give a finite number\n"


def test_a_file_that_cannot_be_written_is_told_in_a_line(shell: Shell, done: str) -> None:
    for words in (["weights", done, "-o"], ["export", done, "-o"], ["new"]):
        (line,) = shell.run(*words, "job.yaml/x", status=1).stderr.splitlines()
        assert line.startswith("thalweg: ")
        assert "job.yaml/x" in line


def test_an_interrupt_ends_the_command_and_not_the_job(
    shell: Shell, client: Client, flaky: FlakyProxy
) -> None:
    endless = shell.run("submit", "job.yaml", "--set", "budget.max_steps=5000000").stdout.strip()
    watcher = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, THALWEG, "watch", endless],
        env=shell.environment | {"THALWEG_URL": flaky.url}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    job = client.jobs.get(endless)
    while job.refresh().status != "running":
        assert job.status == "queued"
    until(lambda: ("GET", f"/v1/jobs/{endless}", None) in flaky.calls)  # it has begun to wait
    assert watcher.poll() is None
    watcher.send_signal(signal.SIGINT)
    _, said = watcher.communicate(timeout=60)
    assert (watcher.returncode, "Traceback" in said) == (130, False)
    assert not job.refresh().ended
    job.cancel()


def test_a_service_that_is_not_there_is_told(shell: Shell) -> None:
    done = shell.run("jobs", status=4, THALWEG_URL="http://127.0.0.1:9")
    assert "No service answers at http://127.0.0.1:9" in done.stderr
    assert "no address of a service" in shell.run("jobs", "--url", "nonsense", status=1).stderr
    shell.run("submit", "none.yaml", status=1)


def test_a_new_file_is_complete_and_editors_can_check_it(shell: Shell) -> None:
    for what, words in (("job", ()), ("study", ("--study",))):
        shell.run("new", f"my-{what}.yaml", *words)
        path = shell.folder / f"my-{what}.yaml"
        first = path.read_text().splitlines()[0]
        named = first.removeprefix("# yaml-language-server: $schema=")
        schema = json.loads((shell.folder / named).read_text())
        checker = jsonschema_rs.validator_for(schema)
        spec = yaml.safe_load(path.read_text())
        assert checker.is_valid(spec)
        inner = spec if what == "job" else spec["base"]
        inner["budjet"] = {}
        assert not checker.is_valid(spec)
        shell.run("validate", path.name)
        shell.run("new", path.name, *words, status=1)
    assert json.loads(shell.run("schema", "job").stdout)["$defs"]["JobSpec"]


def test_a_terminal_shows_a_curve_and_colours_unless_they_are_not_wanted(
    shell: Shell, done: str
) -> None:
    shown = shell.on_a_terminal("submit", "job.yaml", "--watch")
    assert "⠀" in shown
    assert "succeeded, budget_exhausted" in shown
    assert "\x1b[" in shell.on_a_terminal("jobs")
    plain = shell.on_a_terminal("jobs", NO_COLOR="1")
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", plain)
    assert "┤" in shell.on_a_terminal("history", done)


def test_shells_complete_commands_and_families(shell: Shell) -> None:
    def completed(words: str, place: int) -> str:
        return shell.run(
            _THALWEG_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(place)
        ).stdout

    assert "submit" in completed("thalweg su", 1)
    assert "serve" in completed("thalweg se", 1)
    assert "optimizers" in completed("thalweg catalog opt", 2)
    # The command asks which shell started it; the suite's own may be none.
    shown = subprocess.run(
        ["bash", "-c", f"{THALWEG} --show-completion; exit $?"], cwd=shell.folder,
        env=shell.environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "complete" in shown.stdout


def test_exports_are_read(shell: Shell, done: str) -> None:
    (path,) = shell.run("export", done, "--to", "csv", "-o", "out").stdout.split()
    rows = list(csv.DictReader((shell.folder / path).read_text().splitlines()))
    assert len(rows) == 30
    (event_file,) = shell.run("export", done).stdout.split()
    assert "tfevents" in event_file
    assert (shell.folder / event_file).stat().st_size > 30 * 4 * 30
