"""Every call and every reference of the OpenAPI document, made with somebody else's ids."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2
from starlette.testclient import TestClient

from core.ids import new_id
from core.specs.examples import minimal_example
from tests.api.actors import Json, rosenbrock
from tests.api.study_actors import sweep

NOUNS: Final = ("job", "study", "data", "msg", "pred")
PARAMETERS: Final = {
    **{f"{noun}_id": noun for noun in NOUNS[:3]},
    "delivery_id": "msg",
    "prediction_id": "pred",
}
"""Parameters of paths that name something, and what."""
_ID: Final = re.compile(r"\^(job|study|data|pred)_")
ENDLESS: Final = frozenset({"stream_events"})
"""Operations whose replies go on without an end; they have a test of their own."""


@dataclass(frozen=True)
class Ids:
    """Ids to ask with: somebody's, or nobody's."""

    job: str
    study: str
    data: str
    msg: str
    pred: str

    @classmethod
    def unknown(cls) -> "Ids":
        """Ids that nobody has."""
        return cls(*(new_id(noun) for noun in NOUNS))

    def hidden(self, text: str) -> str:
        """The text without them; where a message cuts a value off, without their beginnings."""
        for noun in NOUNS:
            id_ = getattr(self, noun)
            for length in range(len(id_), len(noun) + 1, -1):
                text = text.replace(id_[:length], f"<{noun}>")
        return text


@dataclass(frozen=True)
class Call:
    """A request. `body`: JSON; None: none is sent."""

    name: str
    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    def made(self, http: TestClient, token: str) -> httpx2.Response:
        headers = {**self.headers, "Authorization": f"Bearer {token}"}
        content = None if self.body is None else json.dumps(self.body)
        if self.body is not None:
            headers["Content-Type"] = "application/json"
        return http.request(
            self.method, self.path, params=list(self.query), content=content, headers=headers
        )


BODIES: Final[dict[str, Any]] = {
    "continue_job": {"budget": {"max_steps": 1_000}},
    "change_job": {"name": "taken"},
    "change_study": {"name": "taken"},
    "change_dataset": {"name": "taken"},
    "diagnose_job": {"checkpoint": "final"},
    "extend_study": {"num_runs": 9},
    "enqueue_configurations": {"configurations": [{"optimizer.lr": 0.5}]},
    "predict_with_job": {"features": [[1.0]]},
    "predict_with_run": {"features": [[1.0]]},
}
"""Bodies of the calls that name what they are about in their path."""
VALUES: Final = {"index": "0", "family": "models", "kind": "step"}


def operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def calls_by_path(document: Json, ids: Ids) -> Iterator[Call]:
    """Each call whose path names a job, a study, a data set, a delivery or a prediction."""
    for method, path, operation in operations(document):
        if not any(f"{{{name}}}" in path for name in PARAMETERS):
            continue
        known = {name: getattr(ids, noun) for name, noun in PARAMETERS.items()}
        named = path.format(**known, **VALUES)
        name = operation["operationId"]
        if "requestBody" in operation:
            assert name in BODIES, f"{name} has a body that nobody wrote here"
        yield Call(name, method, named, body=BODIES.get(name))


def calls_of_all(document: Json) -> Iterator[Call]:
    """Each call that reads and names nothing: lists, sums, what tells of the service."""
    for method, path, operation in operations(document):
        name = operation["operationId"]
        if method == "GET" and "{" not in path and name not in ENDLESS:
            yield Call(name, method, path)


def references(document: Json) -> dict[str, str]:
    """Where requests name something by its id, but for paths, and what it is of: fields of bodies
    as `Component.field`, parameters as `operation?name`."""
    found: dict[str, str] = {}
    sent: set[str] = set()
    for _, _, operation in operations(document):
        sent |= _reachable(document, operation.get("requestBody", {}))
        for each in operation.get("parameters", ()):
            noun = {"job": "job", "baseline": "job"}.get(each["name"]) or _noun_in(each["schema"])
            if each["in"] == "query" and noun:
                found[f"{operation['operationId']}?{each['name']}"] = noun
    for name in sent:
        for field_, schema in document["components"]["schemas"][name].get("properties", {}).items():
            if (noun := _noun_in(schema)) is not None:
                found[f"{name}.{field_}"] = noun
    return found


def _noun_in(schema: Any) -> str | None:
    for part in _objects(schema):
        pattern = part.get("pattern")
        if isinstance(pattern, str) and (noun := _ID.match(pattern)):
            return noun[1]
    return None


def _objects(part: Any) -> Iterator[Json]:
    if isinstance(part, dict):
        yield part
        for each in part.values():
            yield from _objects(each)
    elif isinstance(part, list):
        for each in part:
            yield from _objects(each)


def _reachable(document: Json, part: Any) -> set[str]:
    found: set[str] = set()
    todo = [part]
    while todo:
        for each in _objects(todo.pop()):
            name = str(each.get("$ref", "")).rpartition("/")[2]
            if name and name not in found:
                found.add(name)
                todo.append(document["components"]["schemas"][name])
    return found


def _weights_by_model(document: Json, dataset: str) -> Iterator[tuple[str, list[Call]]]:
    """Yield, for each kind of model, the calls of jobs that begin with weights of a data set."""
    schemas = document["components"]["schemas"]
    for name in sorted(_reachable(document, {"$ref": "#/components/schemas/Model"})):
        fields = schemas[name].get("properties", {})
        if "initial_weights" not in fields:
            continue
        body = minimal_example("models", str(fields["kind"]["const"]))
        model = {**body["problem"]["model"], "initial_weights": dataset}
        body = {**body, "problem": {**body["problem"], "model": model}}
        paths = ("/v1/jobs", "/v1/jobs/validate")
        calls = [Call(f"POST {path}", "POST", path, body=body) for path in paths]
        yield f"{name}.initial_weights", calls


def calls_by_reference(document: Json, ids: Ids) -> dict[str, list[Call]]:
    """For each reference the calls that name these ids there."""

    def post(path: str, body: Any) -> Call:
        return Call(f"POST {path}", "POST", path, body=body)

    def get(path: str, *query: tuple[str, str]) -> Call:
        return Call(f"GET {path}", "GET", path, query)

    started = {**rosenbrock(), "start_from": {"job": ids.job, "step": 50}}
    begun = sweep(warm_start_from=ids.study)
    data = {"kind": "dataset", "id": ids.data, "target": "price", "eval_fraction": 0}
    problem = {"kind": "supervised", "data": data, "model": {"kind": "linear"}}
    uploaded = {"problem": problem, "optimizer": {"kind": "sgd"}}
    swept = sweep(sweep={"problem.data": {"values": [data]}})
    patched = {"problem": {"data": data}}
    two = ("job", "<own job>"), ("job", ids.job)
    return {
        "JobClone.from": [post("/v1/jobs", {"from": ids.job, "patch": {"seed": 1}})],
        "StudyClone.from": [post("/v1/studies", {"from": ids.study, "patch": {"repeats": 1}})],
        "StudySpec.warm_start_from": [
            post("/v1/studies", begun),
            post("/v1/studies/validate", begun),
            post("/v1/studies", {"from": "<own study>", "patch": {"warm_start_from": ids.study}}),
        ],
        "StartPoint.job": [
            post("/v1/jobs", started),
            post("/v1/jobs/validate", started),
        ],
        "UploadData.id": [
            post("/v1/jobs", uploaded),
            post("/v1/jobs/validate", uploaded),
            post("/v1/studies", sweep(uploaded)),
            post("/v1/studies/validate", sweep(uploaded)),
            post("/v1/studies", swept),
            post("/v1/studies/validate", swept),
            post("/v1/jobs", {"from": "<own job>", "patch": patched}),
            post("/v1/studies", {"from": "<own study>", "patch": {"base": patched}}),
        ],
        **dict(_weights_by_model(document, ids.data)),
        "PredictionRequest.dataset": [
            post("/v1/jobs/<own job>/predictions", {"dataset": ids.data}),
            post("/v1/studies/<own study>/runs/0/predictions", {"dataset": ids.data}),
        ],
        "compare_jobs?job": [get("/v1/comparison", *two)],
        "compare_jobs?baseline": [
            get("/v1/comparison", ("job", "<own job>"), ("baseline", ids.job)),
            get("/v1/comparison", ("label", "own:1"), ("baseline", ids.job)),
        ],
        "get_comparison_plot?job": [get("/v1/comparison/plot", *two)],
        "get_comparison_plot?baseline": [
            get("/v1/comparison/plot", ("job", "<own job>"), ("baseline", ids.job))
        ],
        "stream_events?job": [get("/v1/events", ("job", ids.job))],
        "list_webhook_deliveries?job": [get("/v1/webhooks/deliveries", ("job", ids.job))],
        "list_webhook_deliveries?study": [get("/v1/webhooks/deliveries", ("study", ids.study))],
    }


def own(call: Call, ids: Ids) -> Call:
    """The call with the caller's own ids where it says so."""

    def filled(text: str) -> str:
        return text.replace("<own job>", ids.job).replace("<own study>", ids.study)

    body = None if call.body is None else json.loads(filled(json.dumps(call.body)))
    query = tuple((name, filled(value)) for name, value in call.query)
    return Call(call.name, call.method, filled(call.path), query, body, call.headers)


def shape_of(reply: httpx2.Response, ids: Ids, caller: Ids | None = None) -> Json:
    """All of a reply that must not tell whether the ids are somebody's. `caller`: whose own ids
    stand in it besides."""
    text = reply.text
    for noun in NOUNS if caller is not None else ():
        text = text.replace(getattr(caller, noun), f"<own {noun}>")
    body = ids.hidden(text)
    if reply.headers.get("content-type", "").endswith("json"):
        found = json.loads(body)
        found.pop("request_id", None)
        body = json.dumps(found, sort_keys=True)
    varying = {"date", "x-request-id", "content-length"}
    headers = {name: value for name, value in reply.headers.items() if name not in varying}
    return {"status": reply.status_code, "headers": headers, "body": body}
