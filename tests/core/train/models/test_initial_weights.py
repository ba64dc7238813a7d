"""Initial weights from an upload: a file of weights that was checked, named by a spec."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save

from core.errors import InvalidInputError, JobFailure
from core.specs.job import DataProblem, JobSpec
from core.specs.parsing.job import parse_job
from core.specs.sizes.uploads import UploadFacts, as_posted, spec_text
from core.specs.validation.limits import Limits
from core.train.data.uploaded import uploads_from
from tests.core.train.data.uploads import EXAMPLE_ID, Stored, stored
from tests.core.train.fused.harness import compare_with_alone
from tests.core.train.harness import train

Json = dict[str, Any]
MODELS: dict[str, Json] = {
    "linear": {"kind": "linear"},
    "mlp": {"kind": "mlp", "hidden": [5], "norm": "batch"},
    "cnn": {"kind": "cnn", "channels": [2], "norm": "batch"},
    "resnet": {"kind": "resnet", "width": 2},
    "tabular": {"kind": "tabular", "width": 4, "hidden": [3]},
    "autoencoder": {"kind": "autoencoder", "hidden": [4], "latent": 2},
    "layers": {"kind": "layers", "layers": [{"kind": "linear", "out_features": 4},
                                            {"kind": "relu"}, {"kind": "linear"}]},
}  # fmt: skip


def body(model: Json, **rest: Any) -> Json:
    return {
        "problem": {"kind": "supervised", "data": {"kind": "builtin", "name": "iris"},
                    "model": model},
        "optimizer": {"kind": "adam", "lr": 0.01}, "precision": "float64", "device": "cpu",
        "budget": {"max_steps": 5}, "record": {"eval_every": None}, **rest,
    }  # fmt: skip


def job(model: Json, facts: UploadFacts | None = None, **rest: Any) -> JobSpec:
    uploads = {} if facts is None else {EXAMPLE_ID: facts}
    return parse_job(json.dumps(body(model, **rest)).encode(), Limits(), uploads)


def uploaded(folder: Path, tensors: dict[str, torch.Tensor]) -> Stored:
    return stored(folder, save(tensors), "application/x-safetensors")


@pytest.mark.parametrize("kind", MODELS)
def test_a_run_begins_with_the_weights_of_another(kind: str, tmp_path: Path) -> None:
    first = train(job(MODELS[kind], seed=3), tmp_path / "first")
    given = load_file(first.artifacts.local_path("final.safetensors") or "")
    file = uploaded(tmp_path / "upload", given)
    spec = job({**MODELS[kind], "initial_weights": EXAMPLE_ID}, file.facts)
    with uploads_from(file.store):
        begun = train(spec, tmp_path / "second").weights("initial")
        assert begun.keys() == given.keys()
        for name, tensor in given.items():
            assert torch.equal(torch.from_numpy(begun[name]), tensor), name
        seeds = [spec.model_copy(update={"seed": seed}) for seed in (0, 1)]
        compare_with_alone(seeds, tmp_path / "stack")


def test_weights_of_another_precision_are_converted_and_statistics_may_be_missing(
    tmp_path: Path,
) -> None:
    first = train(job(MODELS["mlp"]), tmp_path / "first")
    given = load_file(first.artifacts.local_path("final.safetensors") or "")
    halves = {
        name: tensor.to(torch.bfloat16)
        for name, tensor in given.items()
        if "running" not in name and "num_batches" not in name
    }
    file = uploaded(tmp_path / "upload", halves)
    spec = job({**MODELS["mlp"], "initial_weights": EXAMPLE_ID}, file.facts)
    with uploads_from(file.store):
        begun = train(spec, tmp_path / "second").weights("initial")
    for name, tensor in halves.items():
        assert torch.equal(torch.from_numpy(begun[name]), tensor.double())
    assert not begun["hidden.0.norm.running_mean"].any()


def test_a_weight_that_the_precision_cannot_hold_ends_the_job_in_words(tmp_path: Path) -> None:
    weight = torch.zeros(3, 4, dtype=torch.float64)
    weight[1, 2] = -1e300
    file = uploaded(tmp_path, {"output.weight": weight, "output.bias": torch.zeros(3)})
    model = {"kind": "linear", "initial_weights": EXAMPLE_ID}
    with uploads_from(file.store):
        spec = job(model, file.facts, precision="float32")
        with pytest.raises(JobFailure, match=r"output\.weight has -1e\+300, .*float32.*float64"):
            train(spec, tmp_path / "narrow")
        train(job(model, file.facts), tmp_path / "wide")


def mistakes(model: Json, facts: UploadFacts | None) -> list[tuple[str, str, str]]:
    with pytest.raises(InvalidInputError) as caught:
        job({**model, "initial_weights": EXAMPLE_ID}, facts)
    return [(each.param, each.code, each.message) for each in caught.value.errors]


def test_what_does_not_fit_is_named_with_both_shapes(tmp_path: Path) -> None:
    right = {"output.weight": torch.zeros(3, 4), "output.bias": torch.zeros(3)}
    cases: dict[str, tuple[dict[str, torch.Tensor], str, list[str]]] = {
        "shape": (
            right | {"output.weight": torch.zeros(3, 5)}, "shapes_do_not_match",
            ['"output.weight"', "[3, 5]", "[3, 4]"],
        ),
        "missing": (
            {"output.weight": torch.zeros(3, 4)}, "missing_tensors", ['"output.bias"'],
        ),
        "unknown": (
            right | {"head.bias": torch.zeros(3)}, "unknown_tensors",
            ['"head.bias"', '"output.weight", "output.bias"'],
        ),
        "integers": (
            right | {"output.bias": torch.zeros(3, dtype=torch.int64)}, "not_numbers",
            ['"output.bias"', "int64"],
        ),
    }  # fmt: skip
    for name, (tensors, code, words) in cases.items():
        facts = uploaded(tmp_path / name, tensors).facts
        ((param, found, message),) = mistakes({"kind": "linear"}, facts)
        assert (param, found) == ("problem.model.initial_weights", code)
        assert all(word in message for word in words), message


def test_data_sets_that_are_no_weights_are_refused(tmp_path: Path) -> None:
    table = stored(tmp_path / "table", b"a,b\n1,2\n3,4\n").facts
    for facts, code in ((table, "wrong_kind"), (None, "unknown_dataset")):
        ((param, found, _),) = mistakes({"kind": "linear"}, facts)
        assert (param, found) == ("problem.model.initial_weights", code)


def test_what_the_service_writes_for_itself_is_not_shown_or_posted(tmp_path: Path) -> None:
    tensors = {"output.weight": torch.zeros(3, 4), "output.bias": torch.zeros(3)}
    facts = uploaded(tmp_path, tensors).facts
    spec = job({"kind": "linear", "initial_weights": EXAMPLE_ID}, facts)
    assert isinstance(spec.problem, DataProblem)
    assert spec.problem.model.stored_weights is not None
    stored_spec = json.loads(spec.model_dump_json())
    shown = as_posted(stored_spec)
    assert shown == json.loads(spec_text(spec))
    assert shown["problem"]["model"]["initial_weights"] == EXAMPLE_ID
    assert "stored_weights" not in shown["problem"]["model"]
    again = parse_job(json.dumps(shown).encode(), Limits(), {EXAMPLE_ID: facts})
    assert again == spec
    with pytest.raises(InvalidInputError):
        job({"kind": "linear", "stored_weights": {"file": "file_x"}}, facts)


def test_diagnosis_takes_other_weights_where_those_of_the_upload_do_not_do(tmp_path: Path) -> None:
    """All weights 0 stay alike, and a multi-start draws its own."""
    from core.train.measure.measure import measure

    tensors = {
        "hidden.0.linear.weight": torch.zeros(5, 4), "hidden.0.linear.bias": torch.zeros(5),
        "output.weight": torch.zeros(3, 5), "output.bias": torch.zeros(3),
    }  # fmt: skip
    file = uploaded(tmp_path, tensors)
    model = {"kind": "mlp", "hidden": [5], "initial_weights": EXAMPLE_ID}
    spec = job(model, file.facts, batch_size="full")
    with uploads_from(file.store):
        found = measure(spec, None, budget_s=2.0)
    assert found is not None
