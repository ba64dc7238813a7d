"""Bad input over HTTP: refused with a problem document that names the field, never accepted."""

import copy
import json
from typing import Any

import pytest

from tests.e2e.client import Json, Service
from tests.e2e.specs import digits, expression


def changed(spec: Json, path: str, value: Any) -> Json:
    """`spec` with the value at a dotted path replaced, or added."""
    result = copy.deepcopy(spec)
    *parents, last = path.split(".")
    node = result
    for name in parents:
        node = node.setdefault(name, {})
    node[last] = value
    return result


def inline(features: Any, targets: Any, loss: str | None = None) -> Json:
    problem: Json = {
        "kind": "supervised",
        "data": {"kind": "inline", "features": features, "targets": targets, "eval_fraction": 0},
        "model": {"kind": "linear"},
    }
    if loss is not None:
        problem["loss"] = {"kind": loss}
    return {"problem": problem, "optimizer": {"kind": "sgd", "lr": 0.1}}


def refusal(service: Service, body: bytes | str) -> Json:
    reply = service.http.post(
        "/v1/jobs", content=body, headers={"Content-Type": "application/json"}
    )
    assert reply.status_code == 422, f"{reply.status_code}: {reply.text[:500]}"
    assert reply.headers["content-type"] == "application/problem+json"
    problem: Json = reply.json()
    assert problem["status"] == 422
    assert {"type", "title", "detail", "instance", "code"} <= problem.keys()
    assert len(reply.content) < 100_000
    return problem


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("nonsense", 1),
        ("problem.nonsense", 1),
        ("problem.data.nonsense", 1),
        ("problem.data.order", {"kind": "shuffled", "nonsense": 1}),
        ("problem.model.nonsense", 1),
        ("optimizer.nonsense", 1),
        ("optimizer.momentum", 0.9),
        ("budget.nonsense", 1),
        ("stop.nonsense", 1),
        ("record.nonsense", 1),
        ("schedule", {"kind": "step", "step_size": 10, "nonsense": 1}),
        ("problem.kind", "unsupervised"),
        ("problem.data.kind", "csv"),
        ("problem.data", {"kind": "dataset"}),
        ("problem.data", {"kind": "dataset", "id": "data_00000000000000000000000000"}),
        ("problem.data.name", "mnist"),
        ("problem.model.kind", "unet"),
        ("problem.model.activation", "__import__('os')"),
        ("optimizer.kind", "Adam"),
        ("optimizer.kind", "sparse_adam"),
        ("optimizer.kind", None),
        ("schedule.kind", "lambda"),
        ("schedule.kind", "linear_warmup"),
        ("optimizer.lr", "0.1"),
        ("optimizer.lr", -0.1),
        ("optimizer.lr", 0),
        ("optimizer.lr", True),
        ("optimizer.lr", None),
        ("optimizer.lr", "Auto"),
        ("optimizer.betas", [0.9, 1.0]),
        ("optimizer.betas", [0.9]),
        ("optimizer.betas", [-0.1, 0.9]),
        ("optimizer.weight_decay", -1),
        ("budget.max_steps", 0),
        ("budget.max_steps", 10**12),
        ("budget.max_steps", 1.5),
        ("budget.max_steps", "100"),
        ("budget.max_epochs", 0),
        ("budget.max_seconds", 0),
        ("budget.max_seconds", 1e300),
        ("batch_size", 0),
        ("batch_size", "half"),
        ("batch_size", 10**9),
        ("record.every", 0),
        ("seed", -1),
        ("seed", 1.5),
        ("priority", 10),
        ("device", "tpu"),
        ("precision", "float8"),
        ("labels", {"team": 1}),
        ("labels", []),
        ("webhook", {"url": "https://example.org/x", "events": ["study.started"]}),
        ("start_from.job", "job_x"),
        ("start_from", {"job": "job_00000000000000000000000000", "step": 1}),
        ("start_from", {"job": "job_00000000000000000000000000", "step": -1}),
        ("diagnose", "deep"),
        ("on_divergence", {"action": "restart"}),
        ("on_divergence", {"action": "stop", "max_times": 3}),
        ("on_divergence", {"action": "rollback", "lr_factor": 1}),
        ("problem.model.hidden", [0]),
        ("problem.model.hidden", [10**9]),
        ("problem.model.hidden", [100_000, 100_000]),
        ("problem.model.hidden", "64"),
        ("problem.model.dropout", 1.0),
        ("problem.data.eval_fraction", 1.0),
        ("problem.loss", {"kind": "binary_cross_entropy"}),
        ("problem.loss", {"kind": "mse"}),
        ("gradient_clip", {"kind": "norm", "max_norm": 0}),
    ],
)
def test_a_wrong_field_is_named_in_the_refusal(service: Service, path: str, value: Any) -> None:
    problem = refusal(service, json.dumps(changed(digits(), path, value)))
    named = [error["param"] for error in problem["errors"]]
    assert any(
        name == path or name.startswith(f"{path}.") or path.startswith(f"{name}.") for name in named
    ), problem["errors"]
    assert all(error["message"] and error["code"] for error in problem["errors"])


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "1" + "0" * 5000])
def test_numbers_that_are_not_finite_are_refused(service: Service, number: str) -> None:
    body = json.dumps(digits({"kind": "sgd", "lr": 12345.5})).replace("12345.5", number)
    problem = refusal(service, body)
    assert problem["code"] in {"invalid_request", "invalid_json"}


def test_all_mistakes_come_at_once(service: Service) -> None:
    spec = changed(changed(digits({"kind": "adam", "lr": -1}), "budget.max_steps", 0), "seed", "x")
    named = {error["param"] for error in refusal(service, json.dumps(spec))["errors"]}
    assert {"optimizer.lr", "budget.max_steps", "seed"} <= named


@pytest.mark.parametrize(
    ("features", "targets", "loss"),
    [
        ([], [], None),
        ([[]], [0], None),
        ([[1.0], [2.0, 3.0]], [0, 1], None),
        ([[1.0], [2.0]], [0], None),
        ([[1.0], [2.0]], [0.5, 1.5], "cross_entropy"),
        ([[1.0], [2.0]], [-1, 1], "cross_entropy"),
        ([[1.0], [2.0], [3.0]], [0, 1, 2], "binary_cross_entropy"),
        ([[1.0], [2.0]], [[1.0], [1.0, 2.0]], "mse"),
        ([["1.0"], [2.0]], [0, 1], None),
        ([[None], [2.0]], [0, 1], None),
        ([[1.0], [2.0]], [0, 10**9], "cross_entropy"),
    ],
)
def test_inline_data_that_does_not_fit_is_refused(
    service: Service, features: Any, targets: Any, loss: str | None
) -> None:
    problem = refusal(service, json.dumps(inline(features, targets, loss)))
    assert any(error["param"].startswith("problem.") for error in problem["errors"])


@pytest.mark.parametrize(
    "text",
    [
        "x.__class__",
        "__import__('os').system('true')",
        "open('x')",
        "exec(x)",
        "x if x else x",
        "lambda: x",
        "[x for x in x]",
        "x[0]",
        "'a'",
        "(" * 100_000 + "x" + ")" * 100_000,
        "(" * 2_000 + "x" + ")" * 2_000,
        "-" * 5_000 + "x",
        "9**9**9 + x",
        "x + 9**9**9**9**9",
        "x + " + "1" * 10_000,
        "x^2",
        "x +",
        "",
        "1/(x-1)",
        "log(x-1)",
        "sqrt(-x)",
        "x; x",
        "x\x00",
        "y + x",
        "3",
    ],
)
def test_an_expression_outside_the_whitelist_is_refused(service: Service, text: str) -> None:
    spec = expression(text, {"x": 1.0}, {"kind": "sgd", "lr": 0.1}, 10)
    problem = refusal(service, json.dumps(spec))
    assert any(error["param"].startswith("problem.") for error in problem["errors"])


@pytest.mark.parametrize(
    "problem_part",
    [
        {"data": {"kind": "synthetic", "generator": {"kind": "blobs", "num_samples": 10**12}}},
        {"function": {"kind": "quadratic", "eigenvalues": [1.0] * 100_001}},
        {"function": {"kind": "sphere", "dim": 10**9}},
        {"function": {"kind": "quadratic", "matrix": [[1.0, 2.0], [0.0, 1.0]]}},
        {"function": {"kind": "quadratic"}},
        {"function": {"kind": "rosenbrock", "dim": 1}},
        {"function": {"kind": "rosenbrock", "dim": 3}, "start": [1.0, 1.0]},
        {"function": {"kind": "sphere"}, "start": {"x1": 1.0, "x2": 1.0}},
        {"function": {"kind": "sphere"}, "start": {"kind": "uniform", "low": 1, "high": 0}},
        {"function": {"kind": "sphere"}, "start": [1.0, 1.0], "bounds": [2.0, 3.0]},
        {"function": {"kind": "rosenbrock"}, "start": [1e200, 1e200]},
    ],
)
def test_problems_too_large_or_inconsistent_are_refused(
    service: Service, problem_part: Json
) -> None:
    kind = "function" if "function" in problem_part else "supervised"
    problem: Json = {"kind": kind, **problem_part}
    if kind == "supervised":
        problem["model"] = {"kind": "linear"}
    spec = {"problem": problem, "optimizer": {"kind": "sgd", "lr": 0.1}}
    assert refusal(service, json.dumps(spec))["errors"]


def test_a_history_that_would_not_fit_is_refused_with_the_way_out(service: Service) -> None:
    problem = refusal(service, json.dumps(digits(steps=100_000_000)))
    assert "record.every" in json.dumps(problem["errors"])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"job"',
        b"\xff\xfe",
        b"[" * 50_000 + b"]" * 50_000,
        b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
        b'{"problem": "\\ud800"}',
    ],
)
def test_a_body_that_is_no_job_is_refused(service: Service, body: bytes) -> None:
    refusal(service, body)


def test_a_body_of_50_mb_is_refused_before_it_is_read(service: Service) -> None:
    reply = service.http.post(
        "/v1/jobs",
        content=b'{"labels": "' + b"x" * 50_000_000 + b'"}',
        headers={"Content-Type": "application/json"},
    )
    assert reply.status_code == 413
    assert reply.json()["code"] == "body_too_large"


def test_a_body_that_is_not_declared_json_is_refused(service: Service) -> None:
    reply = service.http.post(
        "/v1/jobs", content=json.dumps(digits()), headers={"Content-Type": "text/plain"}
    )
    assert reply.status_code == 415


@pytest.mark.parametrize(
    "job_id",
    [
        "job_00000000000000000000000000",
        "nonsense",
        "..%2f..%2fetc",
        "job_%2e%2e",
        "a" * 5000,
        "%00",
    ],
)
@pytest.mark.parametrize("rest", ["", "/history", "/model", "/checkpoints", "/plot"])
def test_an_id_that_does_not_exist_is_a_404(service: Service, job_id: str, rest: str) -> None:
    reply = service.http.get(f"/v1/jobs/{job_id}{rest}")
    assert reply.status_code == 404
    assert reply.headers["content-type"] == "application/problem+json"


def test_a_cursor_from_another_query_is_refused(service: Service) -> None:
    for index in range(2):
        service.post(digits(steps=1, labels={"cursor-test": str(index)}))
    first = service.http.get("/v1/jobs", params={"limit": 1}).json()
    reply = service.http.get(
        "/v1/jobs", params={"limit": 1, "after": first["next_cursor"], "status": "failed"}
    )
    assert reply.status_code == 422
    assert reply.json()["errors"][0]["param"] == "after"


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=x",
        "after=garbage",
        "status=done",
        "label=x",
        "nonsense=1",
        "created_after=yesterday",
    ],
)
def test_a_wrong_query_parameter_is_named(service: Service, query: str) -> None:
    reply = service.http.get(f"/v1/jobs?{query}")
    assert reply.status_code == 422
    assert reply.json()["errors"][0]["param"] == query.split("=", maxsplit=1)[0]
