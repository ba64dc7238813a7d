"""Cancelling and deleting studies."""

from concurrent.futures import ThreadPoolExecutor

from tests.api.actors import Api, problem_of, refused_params
from tests.api.study_actors import play, post


def test_cancelling_ends_the_wait(api: Api) -> None:
    path = post(api)["links"]["self"]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(api.get, path, wait=30)
        api.http.post(f"{path}/cancel")
        assert waiting.result()["status"] == "cancelled"


def test_a_queued_study_is_cancelled_at_once(api: Api) -> None:
    path = post(api)["links"]["self"]
    reply = api.http.post(f"{path}/cancel")
    assert reply.status_code == 202
    assert reply.json()["status"] == "cancelled"
    assert reply.json()["cancel_requested_at"]
    assert reply.json()["progress"]["runs"]["queued"] == 0
    assert api.worker.store.claim_next("w", ("cpu",), 60) is None


def test_a_running_study_is_asked_to_stop_and_keeps_what_it_had(api: Api) -> None:
    study = play(api)
    study.end(0, 0.5)
    for _ in range(2):
        reply = api.http.post(f"{study.path}/cancel")
        assert (reply.status_code, reply.json()["status"]) == (202, "cancelling")
    assert api.worker.store.renew(study.claim, 60) == "cancelling"
    api.worker.store.studies.close(study.claim, "cancelled", "cancelled")
    view = study.view()
    assert view["status"] == "cancelled"
    assert view["progress"]["runs"] == {
        "queued": 0, "running": 0, "succeeded": 1, "failed": 0, "cancelled": 5, "diverged": 0
    }  # fmt: skip
    assert view["best"]["configuration"] == 0


def test_a_study_that_is_cancelled_between_two_rungs_keeps_its_weights_alone(api: Api) -> None:
    import numpy as np

    study = play(api)
    names = [f"{kind}/0_1.safetensors" for kind in ("paused", "weights")]
    for name in [*names, "weights/0_2.safetensors"]:
        study.save({"final.w": np.zeros((6, 2))}, name)
    weights = {"file": names[1], "row": 0, "steps": {"final": 10}}
    for index in range(6):
        study.write(index, paused={"step": 10, "file": names[0]}, weights={**weights, "row": index})
    api.worker.store.studies.close(study.claim, "succeeded", "finished")
    reply = api.http.post(f"{study.path}/cancel")
    assert (reply.status_code, reply.json()["status"]) == (202, "cancelled")
    folder = api.worker.artifacts / study.id
    kept = [str(file.relative_to(folder)) for file in folder.rglob("*.safetensors")]
    assert kept == names[1:]
    assert api.http.get(f"{study.path}/runs/5/model").status_code == 200


def test_cancelling_a_terminal_study_changes_nothing(api: Api) -> None:
    study = play(api)
    study.close(*[0.5] * 6)
    before = study.view()
    reply = api.http.post(f"{study.path}/cancel")
    assert (reply.status_code, reply.json()) == (200, before)
    reply = api.http.post(f"{study.path}/cancel", content=b'{"now": true}')
    assert refused_params(reply) == [""]


def test_a_deleted_study_is_gone_with_its_runs_and_weights(api: Api) -> None:
    import numpy as np

    study = play(api)
    study.append(0, step=[0], loss=[1], lr=[1], grad_norm=[1])
    study.save({"final.w": np.zeros((6, 2))})
    weights = {"file": "weights/0_1.safetensors", "row": 0, "steps": {"final": 100}}
    study.end(0, 0.5, weights=weights)
    folder = api.worker.artifacts / study.id
    problem_of(api.http.delete(study.path), 409, "not_terminal")
    assert folder.exists()
    study.close()
    reply = api.http.delete(study.path)
    assert (reply.status_code, reply.content) == (204, b"")
    assert not folder.exists()
    rest = ("", "/runs", "/runs/0", "/runs/0/history", "/runs/0/model", "/best", "/comparison")
    for part in rest:
        problem_of(api.http.get(f"{study.path}{part}"), 404, "not_found")
    problem_of(api.http.delete(study.path), 404, "not_found")
    assert api.get("/v1/studies")["data"] == []
