"""Kubernetes manifests as kustomize builds them, and what may be wrong with them.

The schemas are those of `lightkube-models`, which are made of Kubernetes' OpenAPI document. KEDA's
objects are not among them: their fields are those of KEDA's reference pages that are used here.
"""

import dataclasses
import sys
import types
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

import yaml

Json = dict[str, Any]
Objects = list[Json]
ROOT: Final = Path(__file__).resolve().parent.parent
FOLDER: Final = ROOT / "deploy" / "kubernetes"
YOURS: Final = {"thalweg-redis", "thalweg-bucket", "thalweg-redis-tls", "thalweg-metrics"}
"""Secrets that operators make."""
MODULES: Final = {
    "v1": "core_v1",
    "apps/v1": "apps_v1",
    "policy/v1": "policy_v1",
    "networking.k8s.io/v1": "networking_v1",
}


def load(path: Path) -> Objects:
    return [each for each in yaml.safe_load_all(path.read_text()) if each is not None]


def build(folder: Path, *, one_job_pods: bool = False) -> Objects:
    """What kustomize makes of the folder, as far as these use it: resources, components, deleting
    patches, settings and images."""
    (plan,) = load(folder / "kustomization.yaml")
    objects: Objects = []
    for name in plan.get("resources", []):
        path = folder / name
        objects += build(path) if path.is_dir() else load(path)
    components = plan.get("components", []) + (["../one-job-pods"] if one_job_pods else [])
    for component in components:
        (part,) = load(folder / component / "kustomization.yaml")
        for patch in part.get("patches", []):
            wanted = yaml.safe_load(patch["patch"])
            assert wanted.pop("$patch") == "delete"
            (target,) = [each for each in objects if name_of(each) == name_of(wanted)]
            objects.remove(target)
        for name in part["resources"]:
            objects += load(folder / component / name)
    for made in plan.get("configMapGenerator", []):
        merge_settings(objects, made, folder)
    for image in plan.get("images", []):
        users = [c for pod in pods(objects) for c in pod["spec"]["containers"]]
        found = [container for container in users if container["image"] == image["name"]]
        assert found, image
        for container in found:
            container["image"] = f"{image['newName']}:{image['newTag']}"
    return objects


def merge_settings(objects: Objects, made: Json, folder: Path) -> None:
    data: dict[str, str] = {}
    for file in made.get("envs", []):
        lines = (folder / file).read_text().splitlines()
        data |= dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    data |= dict(each.split("=", 1) for each in made.get("literals", []))
    if made.get("behavior") == "merge":
        (there,) = [each for each in objects if name_of(each) == ("ConfigMap", made["name"])]
        there["data"] |= data
    else:
        metadata = {"name": made["name"]}
        objects.append(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
        )


def name_of(it: Json) -> tuple[str, str]:
    return it["kind"], it["metadata"]["name"]


def of_kind(objects: Objects, *kinds: str) -> Objects:
    return [each for each in objects if each["kind"] in kinds]


def pods(objects: Objects) -> Objects:
    """The templates of pods."""
    jobs = [each["spec"]["jobTargetRef"]["template"] for each in of_kind(objects, "ScaledJob")]
    return [each["spec"]["template"] for each in of_kind(objects, "Deployment")] + jobs


@cache
def model(module: str, name: str) -> type:
    """A class of lightkube-models. Without lightkube itself, it takes plain dataclasses."""
    if "lightkube.core" not in sys.modules:
        stand_in: Any = types.ModuleType("lightkube.core.schema")
        stand_in.DictMixin = object
        stand_in.field, stand_in.dataclass = dataclasses.field, dataclasses.dataclass
        sys.modules["lightkube.core"] = types.ModuleType("lightkube.core")
        sys.modules["lightkube.core.schema"] = stand_in
    found: type = getattr(import_module(f"lightkube.models.{module}"), name)
    return found


def mistakes(value: Any, wanted: Any, path: str) -> Iterator[str]:
    """Where a value is not of a type of the schema: fields that it does not know, types, and fields
    that it wants."""
    options = [each for each in get_args(wanted) if each is not type(None)]
    origin = get_origin(wanted)
    if origin is Union:
        found = [list(mistakes(value, option, path)) for option in options]
        yield from min(found, key=len)
    elif origin is list:
        if not isinstance(value, list):
            yield f"{path} is no list"
        else:
            for index, each in enumerate(value):
                yield from mistakes(each, options[0], f"{path}[{index}]")
    elif dataclasses.is_dataclass(wanted) and isinstance(wanted, type):
        yield from mistakes_in(value, wanted, path)
    elif origin is dict or wanted is dict:
        if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
            yield f"{path} is no map to texts"
    elif isinstance(wanted, type) and (
        not isinstance(value, wanted) or (wanted is int and isinstance(value, bool))
    ):
        yield f"{path} is no {wanted.__name__}"


def mistakes_in(value: Any, wanted: Any, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path} is no object"
        return
    hints = get_type_hints(wanted)
    known = {each.metadata.get("json", each.name): each for each in dataclasses.fields(wanted)}
    for name, each in value.items():
        if name not in known:
            yield f"{path}.{name} is no field"
        else:
            yield from mistakes(each, hints[known[name].name], f"{path}.{name}")
    for name, field in known.items():
        if field.default is dataclasses.MISSING and name not in value:
            yield f"{path}.{name} is missing"


KEDA: Final[dict[str, Any]] = {
    "scaleTargetRef": {"name": str},
    "jobTargetRef": None,
    "pollingInterval": int,
    "cooldownPeriod": int,
    "minReplicaCount": int,
    "maxReplicaCount": int,
    "successfulJobsHistoryLimit": int,
    "failedJobsHistoryLimit": int,
    "scalingStrategy": {"strategy": str, "multipleScalersCalculation": str},
    "advanced": {
        "scalingModifiers": {"formula": str, "target": str},
        "horizontalPodAutoscalerConfig": {"behavior": None},
    },
    "triggers": [
        {
            "type": str,
            "name": str,
            "metadata": {
                "url": str,
                "format": str,
                "valueLocation": str,
                "targetValue": str,
                "authMode": str,
            },
            "authenticationRef": {"name": str},
        }
    ],
    "secretTargetRef": [{"parameter": str, "name": str, "key": str}],
}


def mistakes_of_keda(value: Any, wanted: Any, path: str) -> Iterator[str]:
    match wanted:
        case None:
            return
        case dict():
            for name, each in value.items():
                if name not in wanted:
                    yield f"{path}.{name} is no field"
                else:
                    yield from mistakes_of_keda(each, wanted[name], f"{path}.{name}")
        case [one]:
            for each in value:
                yield from mistakes_of_keda(each, one, path)
        case _:
            if not isinstance(value, wanted):
                yield f"{path} is no {wanted.__name__}"


def wrong_fields(objects: Objects) -> Iterator[str]:
    for each in objects:
        name = "/".join(name_of(each))
        if each["apiVersion"] == "keda.sh/v1alpha1":
            spec = each["spec"]
            yield from mistakes_of_keda(spec, KEDA, name)
            if each["kind"] == "ScaledJob":
                yield from mistakes(spec["jobTargetRef"], model("batch_v1", "JobSpec"), name)
            if each["kind"] == "ScaledObject":
                behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
                wanted = model("autoscaling_v2", "HorizontalPodAutoscalerBehavior")
                yield from mistakes(behavior, wanted, name)
        else:
            yield from mistakes(each, model(MODULES[each["apiVersion"]], each["kind"]), name)


def unknown_names(objects: Objects) -> Iterator[str]:
    """References to objects, volumes, ports and pods that are not there."""
    there = {name_of(each) for each in objects}
    for pod in pods(objects):
        spec = pod["spec"]
        volumes = {each["name"]: each for each in spec["volumes"]}
        yield from (
            each["secret"]["secretName"]
            for each in volumes.values()
            if "secret" in each and each["secret"]["secretName"] not in YOURS
        )
        for container in spec["containers"]:
            ports = {port["name"] for port in container.get("ports", [])}
            for source in container["envFrom"]:
                if "secretRef" in source and source["secretRef"]["name"] not in YOURS:
                    yield source["secretRef"]["name"]
                if "configMapRef" in source:
                    name = source["configMapRef"]["name"]
                    yield from [] if ("ConfigMap", name) in there else [name]
            yield from (m["name"] for m in container["volumeMounts"] if m["name"] not in volumes)
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                port = container.get(probe, {}).get("httpGet", {}).get("port")
                yield from [port] if port is not None and port not in ports else []
    yield from unknown_pods(objects)
    for scaled in of_kind(objects, "ScaledObject"):
        target = ("Deployment", scaled["spec"]["scaleTargetRef"]["name"])
        yield from [] if target in there else [target[1]]
    for scaled in of_kind(objects, "ScaledObject", "ScaledJob"):
        for trigger in scaled["spec"].get("triggers", []):
            login = ("TriggerAuthentication", trigger["authenticationRef"]["name"])
            yield from [] if login in there else [login[1]]
    for login_of in of_kind(objects, "TriggerAuthentication"):
        names = {each["name"] for each in login_of["spec"]["secretTargetRef"]}
        yield from names - YOURS


def unknown_pods(objects: Objects) -> Iterator[str]:
    for each in of_kind(objects, "Deployment"):
        labels = each["spec"]["template"]["metadata"]["labels"]
        if not each["spec"]["selector"]["matchLabels"].items() <= labels.items():
            yield f"pods of {name_of(each)}"
    for each in of_kind(objects, "Service", "PodDisruptionBudget", "NetworkPolicy"):
        selector = each["spec"].get("selector") or each["spec"].get("podSelector")
        selector = selector if each["kind"] != "Service" else {"matchLabels": selector}
        chosen = [pod for pod in pods(objects) if selects(selector, pod["metadata"]["labels"])]
        if not chosen:
            yield f"pods of {name_of(each)}"
        names = [
            port["name"]
            for pod in chosen
            for container in pod["spec"]["containers"]
            for port in container.get("ports", [])
        ]
        asked = [port["targetPort"] for port in each["spec"].get("ports", [])]
        for rule in each["spec"].get("ingress", []):
            asked += [port["port"] for port in rule["ports"]]
        yield from (port for port in asked if port not in names)


def selects(selector: Json, labels: dict[str, str]) -> bool:
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        each["operator"] == "In" and labels.get(each["key"]) in each["values"]
        for each in selector.get("matchExpressions", [])
    )


def settings_in(objects: Objects) -> dict[str, str]:
    (found,) = of_kind(objects, "ConfigMap")
    return dict(found["data"])
