"""A run in a stack is the run alone: models, norms, losses."""

import json
from pathlib import Path

import pytest

from core.specs.job import JobSpec
from core.specs.parsing.job import parse_job
from core.specs.sizes.fusing import groups
from core.specs.validation.limits import Limits
from tests.core.train.fused.harness import Json, blobs64, compare_with_alone
from tests.core.train.layer_lists import ALONE, END, FUSED, RELU, model, wide

PLAIN: dict[str, Json] = {
    "linear": {"kind": "linear"},
    "no bias": {"kind": "mlp", "hidden": [6, 5], "bias": False},
    "dropout": {"kind": "mlp", "hidden": [6, 5], "dropout": 0.3},
    "batch norm": {"kind": "mlp", "hidden": [6, 5], "norm": {"kind": "batch", "momentum": 0.3}},
    "layer norm": {"kind": "mlp", "hidden": [6, 5], "norm": {"kind": "layer"}},
    "all": {"kind": "mlp", "hidden": [6], "norm": {"kind": "batch"}, "dropout": 0.2},
}


BENT: dict[str, Json] = {
    name: {"kind": "mlp", "hidden": [7], "activation": name}
    for name in (
        "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "softplus", "softsign", "tanh",
        "sigmoid", "hardswish", "identity",
    )
}  # fmt: skip


MODELS = PLAIN | BENT


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("batch_size", [10, "full"])
def test_every_model(name: str, batch_size: int | str, tmp_path: Path) -> None:
    momentum = {"kind": "sgd", "lr": 0.05, "momentum": 0.9}
    model = MODELS[name]
    specs = [
        blobs64(momentum, 14, seed=seed, model=model, batch_size=batch_size) for seed in (0, 0, 5)
    ]
    compare_with_alone(specs, tmp_path)


NORMED: dict[str, Json] = {
    f"{norm} {activation} {dropout}": {
        "kind": "mlp", "hidden": [6, 5] + [1] * (norm == "batch"), "norm": norm,
        "activation": activation, "dropout": dropout,
    }
    for norm in ("batch", "layer")
    for activation in ("relu", *BENT)
    for dropout in (0.0, 0.3)
}  # fmt: skip


@pytest.mark.parametrize("name", NORMED)
def test_every_norm_with_a_method_that_makes_whole_steps_of_rounding_errors(
    name: str, tmp_path: Path
) -> None:
    adam = {"kind": "adam", "lr": 0.02, "eps": 1e-12}
    specs = [blobs64(adam, 14, seed=seed, model=NORMED[name]) for seed in (0, 5)]
    compare_with_alone(specs, tmp_path)


def test_a_feature_that_never_changes_is_ignored_before_a_norm_of_the_batch(
    tmp_path: Path,
) -> None:
    rows = [[0.3 * i, 0.7, (i % 5) - 2.0, 0.0] for i in range(40)]
    data = {
        "kind": "inline", "features": rows, "targets": [i % 3 for i in range(40)],
        "standardize": False, "eval_fraction": 0.25,
    }  # fmt: skip
    model = {"kind": "mlp", "hidden": [6], "norm": "batch"}
    adam = {"kind": "adam", "lr": 0.02, "eps": 1e-12}
    specs = [with_data(data, blobs64(adam, 14, seed=seed, model=model)) for seed in (0, 5)]
    together = compare_with_alone(specs, tmp_path)
    for weights in together.weights.values():
        assert weights.final is not None
        columns = weights.final["hidden.0.linear.weight"].abs().amax(0).tolist()
        assert columns[1] == 0.0
        assert min(columns[0], columns[2], columns[3]) > 0.0


def test_runs_whose_dropout_gives_a_shift_its_gradient_do_not_share_a_stack() -> None:
    model = {"kind": "mlp", "hidden": [6, 5], "norm": "batch", "activation": "identity"}
    specs = [blobs64(model={**model, "dropout": rate}) for rate in (0.0, 0.1, 0.2)]
    assert groups(specs) == [[0], [1, 2]]


def test_dropout_rates_and_initial_weights_of_their_own(tmp_path: Path) -> None:
    models: list[Json] = [
        {"kind": "mlp", "hidden": [6], "dropout": rate, "init": init}
        for rate, init in (
            (0.0, {"kind": "xavier_normal"}),
            (0.5, {"kind": "xavier_normal"}),
            (0.2, {"kind": "orthogonal", "gain": 2.0}),
        )
    ]
    together = compare_with_alone([blobs64(model=model) for model in models], tmp_path)
    assert all(ending.fused for ending in together.endings.values())


@pytest.mark.parametrize(
    "loss",
    [
        {"kind": "cross_entropy", "label_smoothing": 0.2},
        {"kind": "multi_margin", "p": 2, "margin": 0.5},
    ],
    ids=lambda loss: str(loss["kind"]),
)
def test_every_loss_of_classes(loss: Json, tmp_path: Path) -> None:
    specs = [supervised(blobs(3), loss, seed) for seed in (0, 1)]
    compare_with_alone(specs, tmp_path)


@pytest.mark.parametrize("name", FUSED)
@pytest.mark.parametrize("batch_size", [10, "full"])
def test_every_list_of_layers(name: str, batch_size: int | str, tmp_path: Path) -> None:
    """With steps that would make whole ones of rounding errors, too."""
    adam = {"kind": "adam", "lr": 0.02, "eps": 1e-12}
    specs = [
        resolved(blobs64(adam, 14, seed=seed, model=model(FUSED[name]), batch_size=batch_size))
        for seed in (0, 0, 5)
    ]
    together = compare_with_alone(specs, tmp_path)
    assert all(ending.fused for ending in together.endings.values())


@pytest.mark.parametrize("name", ALONE)
def test_lists_that_train_one_by_one(name: str, tmp_path: Path) -> None:
    specs = [resolved(blobs64(model=model(ALONE[name]), seed=seed)) for seed in (0, 5)]
    together = compare_with_alone(specs, tmp_path)
    assert not any(ending.fused for ending in together.endings.values())


def test_runs_with_other_probabilities_of_dropout_share_a_stack(tmp_path: Path) -> None:
    def spec(p: float) -> JobSpec:
        layers = [wide(6), RELU, {"kind": "dropout", "p": p}, {"kind": "batch_norm"}, END]
        return resolved(blobs64(model=model(layers)))

    together = compare_with_alone([spec(0.1), spec(0.6)], tmp_path)
    assert all(ending.fused for ending in together.endings.values())


def resolved(spec: JobSpec) -> JobSpec:
    return parse_job(spec.model_dump_json().encode(), Limits())


@pytest.mark.parametrize("kind", ["mse", "l1", "smooth_l1", "huber"])
def test_every_loss_of_values(kind: str, tmp_path: Path) -> None:
    generator = {"kind": "friedman1", "num_samples": 40, "num_features": 5}
    specs = [supervised(generator, {"kind": kind}, seed) for seed in (0, 1)]
    compare_with_alone(specs, tmp_path)


def test_binary_cross_entropy(tmp_path: Path) -> None:
    generator = {"kind": "moons", "num_samples": 40}
    specs = [supervised(generator, {"kind": "binary_cross_entropy"}, seed) for seed in (0, 1)]
    compare_with_alone(specs, tmp_path)


def blobs(classes: int) -> Json:
    return {"kind": "blobs", "num_samples": 40, "num_features": 3, "num_classes": classes}


def with_data(data: Json, spec: JobSpec) -> JobSpec:
    body = spec.model_dump(mode="json")
    body["problem"]["data"] = data
    return JobSpec.model_validate_json(json.dumps(body))


def supervised(generator: Json, loss: Json, seed: int) -> JobSpec:
    spec = blobs64(seed=seed).model_dump(mode="json")
    spec["problem"]["data"]["generator"] = generator
    spec["problem"]["loss"] = loss
    return JobSpec.model_validate_json(json.dumps(spec))


def test_batch_norm_that_stops_at_a_row_keeps_the_statistics_before_it(tmp_path: Path) -> None:
    specs = [
        blobs64(steps=25, model=MODELS["all"], stop={"target_loss": g}) for g in (0.9, 0.6, 0.01)
    ]
    together = compare_with_alone(specs, tmp_path)
    assert together.endings[0].ending.outcome == "converged"
