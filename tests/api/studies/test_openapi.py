"""The replies of studies are those that the OpenAPI document announces."""

import math
from typing import Any

import numpy as np

from tests.api.actors import Api, Json
from tests.api.http.test_openapi import check
from tests.api.study_actors import Played, play, post, sweep

STUDY = "/v1/studies/{study_id}"
RUN = f"{STUDY}/runs/{{index}}"


def checked(api: Api, document: Json, study: Played | Json, *calls: str) -> None:
    """`calls`: method, template and query, with single spaces; the run's index is 0."""
    study_id = study.id if isinstance(study, Played) else study["id"]
    for call in calls:
        method, template, query = f"{call} ".split(" ")[:3]
        path = template.format(study_id=study_id, index=0) + query
        check(document, method, template, api.http.request(method, path))


READS = (
    "get /v1/studies",
    f"get {STUDY}",
    f"get {STUDY} ?wait=x",
    f"get {STUDY}/runs",
    f"get {STUDY}/runs ?sort=metric",
    f"get {STUDY}/runs ?limit=0",
    f"get {RUN}",
    f"get {RUN}/history",
    f"get {RUN}/history ?format=csv",
    f"get {RUN}/history ?format=npz",
    f"get {RUN}/history ?kind=eval",
    f"get {RUN}/model",
    f"get {RUN}/model ?checkpoint=best",
    f"get {STUDY}/best",
    f"get {STUDY}/comparison",
    f"get {STUDY}/importance",
    f"get {STUDY}/plot",
    f"get {STUDY}/plot ?kind=profile&format=png",
)


def test_replies_of_a_queued_study_are_as_the_document_says(api: Api, document: Json) -> None:
    checked(api, document, post(api), *READS, f"post {STUDY}/cancel", f"delete {STUDY}")


def test_replies_of_a_study_at_every_stage_are_as_the_document_says(
    api: Api, document: Json
) -> None:
    base: Json = sweep()["base"]
    study = play(api, sweep(base, labels={"a": "b"}, metric={"target": 0.5}))
    checked(api, document, study, *READS)
    study.append(0, step=[0, 1], loss=[1, math.nan], lr=[1, 1], grad_norm=[1, math.inf])
    study.append(2, "eval", step=[0, 100], loss=[1, 0.25], accuracy=[0.5, 0.75])
    study.save({"final.w": np.zeros((6, 2))})
    study.end(
        0, math.nan, outcome="diverged", best={"step": 0, "loss": 1.0}, fused=True, share_s=0.5,
        weights={"file": "weights/0_1.safetensors", "row": 0, "steps": {"final": 1}},
        result={"final_loss": math.nan, "num_steps": 1, "eval": None, "train_s": 0.1},
    )  # fmt: skip
    study.write(1, status="failed", error={"code": "out_of_memory", "message": "It did."})
    study.end(2, 0.25, target={"step": 100, "seconds": 0.25}, share_s=0.5)
    stopped = {"by": "successive_halving", "step": 30, "rank": 3, "of": 3}
    study.write(3, status="cancelled", stopped=stopped, metric=0.75)
    study.write(4, paused={"step": 9, "loss": 0.5, "eval": {"loss": math.inf}, "file": "x"})
    study.write(5, status="running")
    study.write(updates=250)
    checked(api, document, study, *READS, f"post {STUDY}/cancel")
    api.worker.store.studies.close(study.claim, "cancelled", "cancelled")
    checked(api, document, study, *READS, f"post {STUDY}/cancel", f"delete {STUDY}", *READS)


def test_replies_of_a_study_that_came_through_are_as_the_document_says(
    api: Api, document: Json
) -> None:
    study = play(api, sweep(repeats=3, metric={"target": 0.5}))
    best = {"configuration": 0, "params": {"optimizer.lr": 0.1}, "metric": 0.25}
    study.close(*[0.25, 0.26, 0.24, 0.5, 0.6, 0.7, 1, 2, math.inf], result={"best": best})
    checked(api, document, study, *READS)
    failed = play(api)
    error = {"code": "out_of_memory", "message": "All runs failed.", "param": None}
    failed.close(status="failed", error=error)
    checked(api, document, failed, *READS)


def test_submitting_is_as_the_document_says(api: Api, document: Json) -> None:
    bodies: list[Any] = [sweep(), sweep(x=1)]
    for path in ("/v1/studies", "/v1/studies/validate"):
        for body in bodies:
            check(document, "post", path, api.http.post(path, json=body))
        check(document, "post", path, api.http.post(path, content=b"{}"))


def test_replies_to_added_runs_are_as_the_document_says(api: Api, document: Json) -> None:
    body = sweep(strategy={"kind": "random", "num_runs": 2})
    for what, asked in (
        ("extend", {"num_runs": 3}),
        ("extend", {"num_runs": 1}),
        ("enqueue", {"configurations": [{"optimizer.lr": 0.1}]}),
        ("enqueue", {}),
    ):
        path = f"/v1/studies/{post(api, body)['id']}/{what}"
        for _ in range(2):
            check(document, "post", f"{STUDY}/{what}", api.http.post(path, json=asked))


def test_the_study_s_spec_is_described_with_its_kinds_and_defaults(document: Json) -> None:
    schemas = document["components"]["schemas"]
    spec = schemas["StudySpec"]
    assert spec["required"] == ["base"]
    assert spec["additionalProperties"] is False
    strategies = schemas["Strategy"]["discriminator"]["mapping"]
    assert set(strategies) == {"grid", "random", "tpe"}
    parameters = document["paths"][f"{STUDY}/runs"]["get"]["parameters"]
    (limit,) = [p["schema"] for p in parameters if p["name"] == "limit"]
    assert (limit["minimum"], limit["maximum"], limit["default"]) == (1, 1000, 20)
