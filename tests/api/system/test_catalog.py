"""The catalogue over HTTP."""

import json
from urllib.parse import quote

import pytest
from jsonschema_rs import Draft202012Validator

from core.specs.catalog import FAMILIES, kinds
from core.specs.examples import choice
from core.specs.formulas.schedules import rates
from core.specs.parsing.job import parse_job
from core.specs.validation.limits import Limits
from tests.api.actors import Api, Json, problem_of, refused_params


def test_the_catalogue_is_counted(api: Api) -> None:
    counts = api.get("/v1/catalog")
    assert set(counts) == set(FAMILIES)
    assert counts["optimizers"] >= 10


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_lists_its_kinds(api: Api, document: Json, family: str) -> None:
    """Each with an example that is taken, and resolved to what the document says."""
    reference = {"$ref": "#/components/schemas/ResolvedJobSpec"}
    resolved = Draft202012Validator({**reference, "components": document["components"]})
    entries = api.get(f"/v1/catalog/{family}")["data"]
    assert len(entries) == api.get("/v1/catalog")[family]
    for entry in entries:
        own = {"goal", "losses"} if family == "metrics" else set()
        assert {"kind", "summary", "schema", "example", "source", "supports"} | own == entry.keys()
        if entry["kind"] == "dataset":  # its example names one that would have to be uploaded
            continue
        reply = api.http.post("/v1/jobs/validate", json=entry["example"])
        assert reply.status_code == 200, reply.text
        resolved.validate(reply.json()["spec"])


def test_an_unknown_family_is_a_404_that_names_the_known(api: Api) -> None:
    body = problem_of(api.http.get("/v1/catalog/wizards"), 404, "not_found")
    assert "optimizers" in body["detail"]


def preview(api: Api, kind: str, query: str = "") -> Json:
    reply = api.http.get(f"/v1/catalog/schedules/{kind}/preview?{query}")
    assert reply.status_code == 200, reply.text
    found: Json = reply.json()
    return found


@pytest.mark.parametrize("kind", kinds("schedules"))
def test_every_schedule_has_a_preview(api: Api, kind: str) -> None:
    """By itself, with its fields in the query, and equal to a job's resolved schedule."""
    found = preview(api, kind)
    assert set(found) == {"kind", "schedule", "lr", "series"}
    assert (found["kind"], found["lr"]) == (kind, 0.1)
    assert found["series"]["step"] == list(range(100))
    job = {
        "problem": {"kind": "function", "function": {"kind": "sphere"}},
        "optimizer": {"kind": "sgd", "lr": 0.25},
        "schedule": choice("schedules", kind),
        "budget": {"max_steps": 40},
    }
    schedule = parse_job(json.dumps(job).encode(), Limits()).schedule
    shown = schedule.model_dump(mode="json")
    for fields in (choice("schedules", kind), shown):
        given = {"lr": 0.25, "max_steps": 40} | {n: v for n, v in fields.items() if n != "kind"}
        words = (f"{name}={quote(json.dumps(value))}" for name, value in given.items())
        found = preview(api, kind, "&".join(words))
        assert found["schedule"] == shown
        assert found["series"]["lr"] == rates(schedule, 0.25, 40)


def test_a_preview_takes_fields_as_words_too(api: Api) -> None:
    found = preview(api, "multistep", "milestones=2,3&gamma=0.5&max_steps=5&lr=1")
    assert found["series"]["lr"] == [1.0, 1.0, 0.5, 0.25, 0.25]
    assert preview(api, "multistep", "milestones=7")["schedule"]["milestones"] == [7]
    found = preview(api, "one_cycle", "anneal_strategy=linear&three_phase=true")
    assert found["schedule"]["anneal_strategy"] == "linear"
    found = preview(api, "exponential", "gamma=1e300&max_steps=3")
    assert found["series"]["lr"][2] == "Infinity"


@pytest.mark.parametrize("kind", kinds("schedules"))
def test_a_group_of_parameters_has_its_factor_on_the_same_curve(api: Api, kind: str) -> None:
    whole = preview(api, kind, "lr=0.3&max_steps=20")
    group = preview(api, kind, "lr=0.3&max_steps=20&lr_scale=0.1")
    assert group["series"]["lr"] == [rate * 0.1 for rate in whole["series"]["lr"]]
    assert group["lr"] == whole["lr"]


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("step/preview?step_size=x", ["step_size"]),
        ("step/preview?step_size=", ["step_size"]),
        ("step/preview?step_size=0&gamma=-1", ["step_size", "gamma"]),
        ("step/preview?gamma=NaN", ["gamma"]),
        ("step/preview?gamma=1e400", ["gamma"]),
        ("step/preview?step_size=1&step_size=2", ["step_size"]),
        ("step/preview?T_max=5&kind=step", ["T_max", "kind"]),
        ("step/preview?lr=0&max_steps=0", ["lr", "max_steps"]),
        ("step/preview?lr=1e999", ["lr"]),
        ("step/preview?max_steps=100001", ["max_steps"]),
        ("step/preview?lr=1&lr=2", ["lr"]),
        ("step/preview?lr_scale=0", ["lr_scale"]),
        ("step/preview?lr_scale=NaN", ["lr_scale"]),
        ("warmup/preview?steps=101", ["steps"]),
        ("inverse_sqrt/preview?warmup_steps=11&max_steps=10", ["warmup_steps"]),
        ("warmup/preview?then=cosine", ["then"]),
        ("warmup/preview?then={}", ["then.kind"]),
        ("chained/preview?schedules=[[[[", ["schedules"]),
        ("sequential/preview?milestones=5,4", ["milestones"]),
        ("sequential/preview?milestones=1,2", ["milestones"]),
        ("cyclic/preview?base_lr=2&max_lr=1", ["base_lr"]),
    ],
)
def test_a_preview_names_what_is_wrong(api: Api, path: str, params: list[str]) -> None:
    assert refused_params(api.http.get(f"/v1/catalog/schedules/{path}")) == params


def test_there_is_a_preview_of_schedules_alone(api: Api) -> None:
    body = problem_of(api.http.get("/v1/catalog/schedules/wizard/preview"), 404, "not_found")
    assert "cosine_warm_restarts" in body["detail"]
    problem_of(api.http.get("/v1/catalog/optimizers/adam/preview"), 404, "not_found")
