"""The Kubernetes manifests: every object is one by its schema, what they name exists, and they fit
the service: its commands, settings, images and times."""

import copy
import re
import shlex
from collections.abc import Callable
from typing import Final

import pytest
import yaml
from typer.main import get_command
from typer.testing import CliRunner

from core.settings import Settings, unknown_variables
from tests.manifests import (
    FOLDER,
    ROOT,
    Json,
    Objects,
    build,
    load,
    name_of,
    of_kind,
    pods,
    settings_in,
    unknown_names,
    wrong_fields,
)
from thalweg.cli.app import app

END_S: Final = 5
"""Seconds that a worker's end may take beyond the hand-over of its job."""


@pytest.fixture(params=["workers that stay", "one-job pods"])
def fleet(request: pytest.FixtureRequest) -> Objects:
    return build(FOLDER / "fleet", one_job_pods=request.param == "one-job pods")


def test_every_object_is_one_by_its_schema_and_names_what_exists(fleet: Objects) -> None:
    assert list(wrong_fields(fleet)) == []
    assert list(unknown_names(fleet)) == []
    names = [name_of(each) for each in fleet]
    assert len(set(names)) == len(names)
    budgets = {name for kind, name in names if kind == "PodDisruptionBudget"}
    assert budgets == {name for kind, name in names if kind == "Deployment"}


def deployment(objects: Objects, name: str) -> Json:
    (found,) = [each for each in objects if name_of(each) == ("Deployment", name)]
    spec: Json = found["spec"]
    return spec


def spoil_field(objects: Objects) -> None:
    container = deployment(objects, "thalweg-api")["template"]["spec"]["containers"][0]
    container["comand"] = container.pop("command")


def spoil_type(objects: Objects) -> None:
    deployment(objects, "thalweg-api")["replicas"] = "2"


def spoil_required(objects: Objects) -> None:
    del deployment(objects, "thalweg-worker-cpu")["selector"]


def spoil_trigger(objects: Objects) -> None:
    of_kind(objects, "ScaledObject")[0]["spec"]["trigers"] = []


SPOILED_FIELDS: Final[dict[str, Callable[[Objects], None]]] = {
    "field": spoil_field,
    "type": spoil_type,
    "required": spoil_required,
    "trigger": spoil_trigger,
}


@pytest.mark.parametrize("how", sorted(SPOILED_FIELDS))
def test_a_field_that_is_wrong_is_seen(how: str) -> None:
    objects = build(FOLDER / "fleet")
    SPOILED_FIELDS[how](objects)
    assert len(list(wrong_fields(objects))) == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("targetPort: http", "targetPort: htp"),
        ("app.kubernetes.io/name: thalweg-worker-gpu", "app.kubernetes.io/name: thalweg-worker"),
        ("name: redis-tls", "name: redis"),
        ("name: thalweg-settings", "name: settings"),
        ("secretName: thalweg-redis-tls", "secretName: redis-tls"),
        ("name: thalweg-worker-gpu", "name: thalweg-gpu"),
        ("name: thalweg-metrics", "name: metrics"),
    ],
)
def test_a_name_that_is_wrong_is_seen(old: str, new: str) -> None:
    objects = build(FOLDER / "fleet")
    seen = 0
    for index, it in enumerate(objects):
        text = yaml.safe_dump(it)
        for found in re.finditer(rf"(?m)^ *(- )?{re.escape(old)}$", text):
            spoiled = copy.deepcopy(objects)
            changed = text[: found.start()] + found[0].replace(old, new) + text[found.end() :]
            spoiled[index] = yaml.safe_load(changed)
            seen += bool(list(unknown_names(spoiled)))
    assert seen


def test_every_file_is_part_of_a_kustomization() -> None:
    named = {
        (path.parent / name).resolve()
        for path in FOLDER.rglob("kustomization.yaml")
        for (plan,) in [load(path)]
        for name in [
            *plan.get("resources", []),
            *(env for made in plan.get("configMapGenerator", []) for env in made.get("envs", [])),
        ]
    }
    files = {p for p in FOLDER.rglob("*") if p.is_file() and p.name != "kustomization.yaml"}
    assert files == {path for path in named if path.is_file()}


def test_the_commands_exist_and_the_images_are_those_that_are_built(fleet: Objects) -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    built = {service["image"] for service in compose.values() if "build" in service}
    images = set()
    for pod in pods(fleet):
        (container,) = pod["spec"]["containers"]
        images.add(container["image"].rpartition("/")[2].partition(":")[0])
        probes = [container[name] for name in container if name.endswith("Probe")]
        asked = [container["command"], *(p["exec"]["command"] for p in probes if "exec" in p)]
        for words in asked:
            assert words[0] == "thalweg", shlex.join(words)
            done = CliRunner().invoke(app, [*words[1:], "--help"])
            assert done.exit_code == 0, done.output
            known = getattr(get_command(app), "get_command")(None, words[1])  # noqa: B009
            options = {
                name
                for parameter in known.params
                for name in (*parameter.opts, *parameter.secondary_opts)
            }
            assert {word for word in words if word.startswith("--")} <= options
    assert images == built


def test_the_settings_exist_and_fit_the_objects(
    fleet: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = settings_in(fleet)
    assert list(unknown_variables(data)) == []
    for name, value in data.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.artifacts.startswith("s3://")  # all pods see it
    (service,) = of_kind(fleet, "Service")
    (port,) = service["spec"]["ports"]
    (api,) = deployment(fleet, "thalweg-api")["template"]["spec"]["containers"]
    assert port["port"] == settings.port == api["ports"][0]["containerPort"]
    name = service["metadata"]["name"]
    urls = {
        trigger["metadata"]["url"]
        for each in of_kind(fleet, "ScaledObject", "ScaledJob")
        for trigger in each["spec"]["triggers"]
    }
    assert urls == {f"http://{name}.thalweg.svc:{settings.port}/metrics"}
    # It wants keys, and a policy says who may reach it at all.
    assert not settings.insecure_listen
    assert name in {name for kind, name in map(name_of, fleet) if kind == "NetworkPolicy"}


def test_a_pod_has_the_time_that_a_hand_over_takes(fleet: Objects) -> None:
    grace_s = float(settings_in(fleet)["THALWEG_SHUTDOWN_GRACE_S"])
    for pod in pods(fleet):
        spec = pod["spec"]
        (container,) = spec["containers"]
        needed = grace_s + END_S
        if "lifecycle" in container:
            assert container["command"] == ["thalweg", "api"]
            needed = float(container["lifecycle"]["preStop"]["exec"]["command"][1]) + END_S
        assert spec["terminationGracePeriodSeconds"] >= needed
        assert spec["securityContext"]["runAsUser"] == 10001
        assert container["securityContext"]["readOnlyRootFilesystem"]


def wanted_workers(formula: str, **metrics: float) -> float:
    """What the formula gives, its one choice as Python writes it."""
    text = re.sub(r"\((.*) \? (.*) : (.*)\)", r"((\2) if (\1) else (\3))", formula)
    return float(eval(text, {"max": max}, metrics))  # noqa: S307


def test_the_number_of_workers_follows_length_and_age_of_the_queue() -> None:
    found = {
        each["metadata"]["name"]: each["spec"]
        for each in of_kind(build(FOLDER / "fleet"), "ScaledObject")
    }
    for spec in found.values():
        formula = spec["advanced"]["scalingModifiers"]["formula"]
        assert {each["name"] for each in spec["triggers"]} == {*re.findall(r"[a-z_]+", formula)} - {
            "max"
        }
        assert spec["minReplicaCount"] < spec["maxReplicaCount"]
    cpu = found["thalweg-worker-cpu"]["advanced"]["scalingModifiers"]["formula"]
    assert wanted_workers(cpu, running=3, queued=20, oldest=2) == 3  # just posted
    assert wanted_workers(cpu, running=3, queued=20, oldest=60) == 23
    assert wanted_workers(cpu, running=3, queued=0, oldest=0) == 3  # none at work is taken away
    gpu = found["thalweg-worker-gpu"]["advanced"]["scalingModifiers"]["formula"]
    waiting = {"gpu_queued": 2, "auto_queued": 5, "gpu_oldest": 0, "auto_oldest": 11}
    assert wanted_workers(gpu, running=1, **waiting) == 8
    assert wanted_workers(gpu, running=1, **{**waiting, "auto_oldest": 3}) == 1


def test_pods_of_one_job_end_by_themselves() -> None:
    objects = build(FOLDER / "fleet", one_job_pods=True)
    (job,) = of_kind(objects, "ScaledJob")
    template = job["spec"]["jobTargetRef"]["template"]["spec"]
    command = template["containers"][0]["command"]
    assert command[-4:] == ["--max-jobs", "1", "--exit-when-idle", "60"]
    assert template["restartPolicy"] == "Never"
    deployments = {each["metadata"]["name"] for each in of_kind(objects, "Deployment")}
    assert deployments == {"thalweg-api", "thalweg-worker-cpu"}
