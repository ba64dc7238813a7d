"""The OpenAPI document: valid, complete, and what the replies really look like."""

import json
import re
from collections.abc import Iterator
from typing import Any

from jsonschema_rs import Draft202012Validator, meta

from core.specs.unions import members
from core.uploads.contents import MEDIA_TYPES
from tests.api.actors import NO_SUCH_JOB, Api, Json, digits, rosenbrock


def test_the_document_is_served(api: Api, document: Json) -> None:
    assert api.get("/openapi.json") == document


def operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


def refs(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from refs(value)
    elif isinstance(node, list):
        for value in node:
            yield from refs(value)


def test_the_document_lists_every_call(document: Json) -> None:
    assert document["openapi"].startswith("3.1")
    assert {(method.upper(), path) for method, path, _ in operations(document)} == {
        ("POST", "/v1/jobs"),
        ("GET", "/v1/jobs"),
        ("POST", "/v1/jobs/validate"),
        ("GET", "/v1/comparison"),
        ("GET", "/v1/comparison/plot"),
        ("GET", "/v1/usage"),
        ("GET", "/v1/webhooks/deliveries"),
        ("GET", "/v1/webhooks/deliveries/{delivery_id}"),
        ("POST", "/v1/webhooks/deliveries/{delivery_id}/redeliver"),
        ("POST", "/v1/webhooks/test"),
        ("GET", "/v1/jobs/{job_id}"),
        ("DELETE", "/v1/jobs/{job_id}"),
        ("PATCH", "/v1/jobs/{job_id}"),
        ("POST", "/v1/jobs/{job_id}/cancel"),
        ("POST", "/v1/jobs/{job_id}/pause"),
        ("POST", "/v1/jobs/{job_id}/resume"),
        ("POST", "/v1/jobs/{job_id}/continue"),
        ("POST", "/v1/jobs/{job_id}/diagnosis"),
        ("POST", "/v1/jobs/{job_id}/remedies/{index}/apply"),
        ("GET", "/v1/jobs/{job_id}/history"),
        ("GET", "/v1/jobs/{job_id}/events"),
        ("GET", "/v1/studies/{study_id}/events"),
        ("GET", "/v1/events"),
        ("GET", "/v1/jobs/{job_id}/model"),
        ("POST", "/v1/jobs/{job_id}/predictions"),
        ("POST", "/v1/studies/{study_id}/runs/{index}/predictions"),
        ("GET", "/v1/predictions/{prediction_id}"),
        ("GET", "/v1/jobs/{job_id}/checkpoints"),
        ("POST", "/v1/jobs/{job_id}/checkpoints"),
        ("GET", "/v1/jobs/{job_id}/diagnosis"),
        ("GET", "/v1/jobs/{job_id}/plot"),
        ("POST", "/v1/studies"),
        ("GET", "/v1/studies"),
        ("POST", "/v1/studies/validate"),
        ("GET", "/v1/studies/{study_id}"),
        ("DELETE", "/v1/studies/{study_id}"),
        ("PATCH", "/v1/studies/{study_id}"),
        ("POST", "/v1/studies/{study_id}/cancel"),
        ("POST", "/v1/studies/{study_id}/pause"),
        ("POST", "/v1/studies/{study_id}/resume"),
        ("POST", "/v1/studies/{study_id}/extend"),
        ("POST", "/v1/studies/{study_id}/enqueue"),
        ("GET", "/v1/studies/{study_id}/runs"),
        ("GET", "/v1/studies/{study_id}/runs/{index}"),
        ("GET", "/v1/studies/{study_id}/runs/{index}/history"),
        ("GET", "/v1/studies/{study_id}/runs/{index}/model"),
        ("GET", "/v1/studies/{study_id}/best"),
        ("GET", "/v1/studies/{study_id}/comparison"),
        ("GET", "/v1/studies/{study_id}/importance"),
        ("GET", "/v1/studies/{study_id}/plot"),
        ("GET", "/v1/datasets"),
        ("POST", "/v1/datasets"),
        ("GET", "/v1/datasets/{data_id}"),
        ("PATCH", "/v1/datasets/{data_id}"),
        ("DELETE", "/v1/datasets/{data_id}"),
        ("GET", "/v1/datasets/{data_id}/preview"),
        ("GET", "/v1/catalog"),
        ("POST", "/v1/functions/values"),
        ("GET", "/v1/catalog/{family}"),
        ("GET", "/v1/catalog/schedules/{kind}/preview"),
        ("GET", "/v1/workers"),
        ("GET", "/livez"),
        ("GET", "/readyz"),
        ("GET", "/metrics"),
        ("GET", "/version"),
    }


def test_all_references_lead_somewhere_and_all_schemas_are_schemas(document: Json) -> None:
    schemas = document["components"]["schemas"]
    for ref in set(refs(document)):
        prefix, _, name = ref.rpartition("/")
        assert (prefix, name in schemas) == ("#/components/schemas", True), ref
    for name, schema in schemas.items():
        meta.validate(schema)
        assert "HTTPValidationError" not in name


NO_BODY = ("cancel", "pause", "resume", "apply", "checkpoints", "redeliver")


def test_every_call_says_what_it_takes_and_how_it_refuses(document: Json) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(ids)) == len(ids)
    for method, path, operation in operations(document):
        assert operation["summary"]
        assert operation["description"], path
        responses = operation["responses"]
        assert {"400", "403", "408", "422", "431", "500", "503"} <= responses.keys()
        for status, response in responses.items():
            if int(status) >= 400:
                assert list(response["content"]) == ["application/problem+json"], (path, status)
        named = set(re.findall(r"{(\w+)}", path))
        declared = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
        assert named == declared
        if method == "post" and not path.endswith(NO_BODY):
            if path == "/v1/datasets":  # takes files
                assert operation["requestBody"]["content"].keys() == MEDIA_TYPES.keys()
                continue
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            special = {"continue": "Continuation", "diagnosis": "DiagnosisRequest"}
            special |= {"test": "WebhookTrial", "predictions": "PredictionRequest"}
            special |= {"values": "FunctionPoints"}
            special |= {"extend": "StudyExtension", "enqueue": "EnqueuedConfigurations"}
            usual = "StudySpec" if path.startswith("/v1/studies") else "JobSpec"
            model = special.get(path.rpartition("/")[2], usual)
            models = [model]
            if path in {"/v1/jobs", "/v1/studies"}:
                models.append(model.replace("Spec", "Clone"))
            refs = [{"$ref": f"#/components/schemas/{each}"} for each in models]
            assert schema == (refs[0] if len(refs) == 1 else {"anyOf": refs})
            assert {"413", "415"} <= responses.keys()


def test_bounds_of_parameters_are_in_the_document(document: Json) -> None:
    parameters = document["paths"]["/v1/jobs"]["get"]["parameters"]
    (limit,) = [p["schema"] for p in parameters if p["name"] == "limit"]
    assert (limit["minimum"], limit["maximum"], limit["default"]) == (1, 200, 20)
    assert not re.search(r'"(ge|le|gt|lt)":', json.dumps(document["paths"]))


def test_the_parameters_that_a_refusal_lists_are_those_of_the_document(
    api: Api, document: Json
) -> None:
    asked = 0
    for method, path, operation in operations(document):
        if "{" in path or (method, path) == ("post", "/v1/jobs"):
            continue
        reply = api.http.request(method, path, params={"nothing": "1"})
        mistakes = reply.json()["errors"] if reply.status_code == 422 else []
        for each in mistakes:
            if each["param"] == "nothing":
                named = {each["name"] for each in operation.get("parameters", ())
                         if each["in"] == "query"}  # fmt: skip
                listed = each["message"].partition(" it takes ")[2].removesuffix(".")
                assert set(listed.split(", ")) == (named or {"none"}), path
                asked += 1
    assert asked > 5


def test_the_spec_is_described_with_its_kinds_and_defaults(document: Json) -> None:
    schemas = document["components"]["schemas"]
    spec = schemas["JobSpec"]
    assert set(spec["required"]) == {"problem", "optimizer"}
    assert spec["additionalProperties"] is False
    assert spec["properties"]["optimizer"]["$ref"] == "#/components/schemas/Optimizer"
    optimizers = schemas["Optimizer"]["discriminator"]["mapping"]
    assert {"sgd", "adam", "lbfgs"} <= optimizers.keys()
    adam = schemas[optimizers["adam"].rpartition("/")[2]]
    assert "Default: `1e-08`." in adam["properties"]["eps"]["description"]
    assert "Default: `[0.9, 0.999]`." in adam["properties"]["betas"]["description"]


def objects(node: Any) -> Iterator[Json]:
    """Every schema within, itself included."""
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from objects(value)
    elif isinstance(node, list):
        for value in node:
            yield from objects(value)


def reachable(document: Json, nodes: Any) -> set[str]:
    """Names of the components that the nodes refer to, however far."""
    found: set[str] = set()
    left = list(refs(nodes))
    while left:
        name = left.pop().rpartition("/")[2]
        if name not in found:
            found.add(name)
            schema = document["components"]["schemas"][name]
            left += refs({k: v for k, v in schema.items() if k != "discriminator"})
    return found


def test_calls_have_plain_names(document: Json) -> None:
    ids = {operation["operationId"] for _, _, operation in operations(document)}
    assert {"create_job", "get_job", "continue_job", "create_study", "check_ready"} <= ids
    for each in ids:
        assert re.fullmatch(r"[a-z]+(_[a-z]+){1,2}", each)
        assert "v1" not in each


def test_every_property_and_parameter_is_described(document: Json) -> None:
    for name, schema in document["components"]["schemas"].items():
        assert schema["title"] == name
        for part in objects({**schema, "title": None, "examples": None}):
            for field, shown in part.get("properties", {}).items():
                assert shown.get("description"), (name, field)
                assert "title" not in shown


def test_streams_say_the_schema_of_each_event(document: Json) -> None:
    wanted = {
        "/v1/jobs/{job_id}/events": "diagnosis end points status",
        "/v1/studies/{study_id}/events": "end points run status",
        "/v1/events": "diagnosis end points reset run status",
    }
    for path, events in wanted.items():
        content = document["paths"][path]["get"]["responses"]["200"]["content"]
        (stream,) = content.values()
        assert sorted(stream["x-events"]) == events.split()
        named = {each for shown in stream["x-events"].values() for each in refs(shown)}
        assert {each.rpartition("/")[2] for each in named} <= document["components"][
            "schemas"
        ].keys()
        by_event = {
            each["properties"]["event"]["enum"][0]: each["properties"]["data"]["contentSchema"]
            for each in stream["itemSchema"]["anyOf"]
        }
        assert by_event == stream["x-events"]


def test_components_are_named_for_what_they_are(document: Json) -> None:
    schemas = document["components"]["schemas"]
    assert schemas["Problem"]["discriminator"]["mapping"].keys() == members("problem").keys()
    for field in ("schedule", "optimizer", "loss", "init", "function", "generator"):
        for model in members(field).values():
            assert model.__name__ not in schemas or model.__name__.lower().endswith(field[:4])
    assert not {name for name in schemas if name.endswith("View")}
    assert not {"Linear", "Entry", "Alive", "Record", "Function"} & schemas.keys()
    for each in ("LinearModel", "LinearSchedule", "ProblemDetails", "AdamOptimizer", "Schedule"):
        assert each in schemas


def test_what_is_sent_and_what_comes_back_have_components_of_their_own(document: Json) -> None:
    sent, replies = set[str](), set[str]()
    for _, _, operation in operations(document):
        sent |= reachable(document, operation.get("requestBody", {}))
        replies |= reachable(document, operation["responses"])
    assert {"JobSpec", "StudySpec", "AdamOptimizer", "StudyBase"} <= sent
    assert {"Job", "ResolvedJobSpec", "ResolvedAdamOptimizer", "ResolvedStudyBase"} <= replies
    assert not sent & replies
    schemas = document["components"]["schemas"]
    assert schemas.keys() == sent | replies
    for name in replies - {"ResolvedStudyBase"}:
        if name.startswith("Resolved") and "properties" in schemas[name]:
            # A sweep has a condition where one was posted.
            always = set(schemas[name]["properties"]) - {"when"}
            assert set(schemas[name]["required"]) == always, name


def test_nothing_stands_in_the_document_that_generators_stumble_over(document: Json) -> None:
    """Defaults (a field with one is taken for one that is always there), words by themselves in a
    choice, fields that can be null alone, choices of what is not apart."""
    for part in objects(document["components"]["schemas"]):
        assert "default" not in part
        assert part.get("type") != "null" or len(part) == 1
        for each in part.get("anyOf", ()):
            assert "const" not in each
        assert "oneOf" not in part or "discriminator" in part


def test_examples_fit_their_schemas_and_are_taken(api: Api, document: Json) -> None:
    schemas = document["components"]["schemas"]
    with_examples = {name for name, schema in schemas.items() if "examples" in schema}
    assert {
        "JobSpec",
        "StudySpec",
        "Continuation",
        "AdamOptimizer",
        "StepSchedule",
    } <= with_examples
    for name in with_examples:
        whole = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        for example in schemas[name]["examples"]:
            Draft202012Validator(whole).validate(example)
    for path, name in (("/v1/jobs", "JobSpec"), ("/v1/studies", "StudySpec")):
        for example in schemas[name]["examples"]:
            assert api.http.post(f"{path}/validate", json=example).status_code == 200


def test_a_studys_base_has_the_types_of_a_job(api: Api, document: Json) -> None:
    body = {"$ref": "#/components/schemas/StudySpec", "components": document["components"]}
    validator = Draft202012Validator(body)
    base = {"problem": rosenbrock()["problem"], "seed": 3, "optimizer": {"kind": "sgd", "lr": 0.1}}
    for good in (base, {}, {**base, "optimizer": {"lr": 0.1}}, {"budget": {"max_steps": 5}}):
        assert validator.is_valid({"base": good})
    for wrong in ({"seed": "x"}, {"budget": 5}, {"optimizer": 5}, {"nonsense": 1}):
        assert not validator.is_valid({"base": {**base, **wrong}})


def check(document: Json, method: str, template: str, reply: Any) -> None:
    """The reply is one that the document announces, in status, media type and shape."""
    announced = document["paths"][template][method]["responses"][str(reply.status_code)]
    if not reply.content:
        assert "content" not in announced
        return
    media_type = reply.headers["content-type"].partition(";")[0]
    schema = announced["content"][media_type]["schema"]
    if media_type.endswith("json") and not media_type.endswith("ndjson"):
        whole = {**schema, "components": document["components"]}
        Draft202012Validator(whole).validate(reply.json())


def test_replies_are_as_the_document_says(api: Api, document: Json) -> None:
    job_id = api.post(digits(labels={"a": "b"}))["id"]
    claim = api.worker.claim()
    nan = float("nan")
    api.worker.append(claim, step=[0, 1], loss=[1, nan], lr=[1, 1], grad_norm=[1, nan])
    api.worker.save(claim, b"weights", name="final", step=1)
    api.worker.store.update(
        claim,
        {
            "device": "cpu",
            "phase": "training",
            "progress": {"step": 1, "max_steps": 100, "steps_per_s": nan},
            "latest": {"step": 1, "loss": nan},
            "best": {"step": 0, "loss": 1.0},
        },
    )
    result = {"final_loss": nan, "num_steps": 1, "eval": {"loss": nan}, "train_s": 0.1}
    remedy = {"index": 0, "patch": {"seed": 1}, "reason": "", "expected": {}}
    diagnosis: Json = {
        "verdict": "diverging", "confidence": 1, "findings": [], "remedies": [remedy]
    }  # fmt: skip
    api.worker.close(claim, outcome="diverged", result=result, diagnosis=diagnosis)
    api.post(rosenbrock())
    job = "/v1/jobs/{job_id}"
    for method, template, query in [
        ("get", "/v1/jobs", ""),
        ("get", "/v1/jobs", "?limit=x"),
        ("get", job, ""),
        ("get", f"{job}/history", ""),
        ("get", f"{job}/history", "?format=csv"),
        ("get", f"{job}/history", "?format=ndjson"),
        ("get", f"{job}/history", "?format=npz"),
        ("get", f"{job}/model", ""),
        ("get", f"{job}/model", "?checkpoint=best"),
        ("get", f"{job}/checkpoints", ""),
        ("get", f"{job}/diagnosis", ""),
        ("post", f"{job}/remedies/{{index}}/apply", ""),
        ("post", f"{job}/checkpoints", ""),
        ("post", f"{job}/pause", ""),
        ("post", f"{job}/resume", ""),
        ("post", f"{job}/cancel", ""),
        ("delete", job, ""),
        ("delete", job, ""),
        ("get", job, ""),
        ("get", "/v1/catalog", ""),
        ("get", "/v1/catalog/{family}", ""),
        ("get", "/v1/catalog/schedules/{kind}/preview", "?T_max=20"),
        ("get", "/v1/catalog/schedules/{kind}/preview", "?T_max=0"),
        ("get", "/v1/workers", ""),
        ("get", "/livez", ""),
        ("get", "/readyz", ""),
        ("get", "/version", ""),
    ]:
        path = template.format(job_id=job_id, family="optimizers", index=0, kind="cosine")
        check(document, method, template, api.http.request(method, path + query))
    other = api.post(rosenbrock(name="one", note="of two"))["id"]
    for change in ({"labels": {"a": "b"}, "keep_until": "2100-01-01T00:00:00Z"}, {"x": 1}):
        check(document, "patch", job, api.http.patch(f"/v1/jobs/{other}", json=change))
    for clone in ({"from": other}, {"from": other, "patch": {"x": 1}}):
        check(document, "post", "/v1/jobs", api.http.post("/v1/jobs", json=clone))
    asked = api.http.post(f"/v1/jobs/{api.post()['id']}/diagnosis", json={})
    check(document, "post", f"{job}/diagnosis", asked)
    for body in (rosenbrock(), rosenbrock(x=1)):
        for path in ("/v1/jobs", "/v1/jobs/validate"):
            check(document, "post", path, api.http.post(path, json=body))
    check(document, "post", "/v1/jobs", api.http.post("/v1/jobs", content=b"{}"))


def test_the_page_to_read_it_needs_no_internet(api: Api) -> None:
    page = api.http.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "://" not in page.text
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(links) == 3
    for link in links:
        asset = api.http.get(link)
        assert asset.status_code == 200
        assert len(asset.content) > 1_000
    assert "'/openapi.json'" in page.text or '"/openapi.json"' in page.text
    for other in ("redoc.standalone.js", "..%2f__init__.py", "x.js"):
        assert api.http.get(f"/docs/{other}").status_code == 404


def test_an_id_in_the_document_is_one_that_the_service_knows(document: Json) -> None:
    parameters = document["paths"]["/v1/jobs/{job_id}"]["get"]["parameters"]
    (pattern,) = [p["schema"]["pattern"] for p in parameters if p["name"] == "job_id"]
    assert re.search(pattern, NO_SUCH_JOB)
