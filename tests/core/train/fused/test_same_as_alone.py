"""A run in a stack gives the numbers of the same spec run alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from core.specs.job import JobSpec
from core.specs.optimizers.kinds import TorchOptimizer
from core.specs.parsing.job import parse_job
from core.specs.sizes.fusing import groups
from core.specs.unions import members
from core.specs.validation.limits import Limits
from tests.core.train.fused.harness import compare_with_alone
from tests.core.train.harness import blobs_job
from tests.core.train.layer_lists import ALONE, END, FUSED, RELU, model, wide

Json = dict[str, Any]

MOMENTUM: dict[str, Json] = {"sgd": {"momentum": 0.9}, "rmsprop": {"momentum": 0.5}}
OPTIONS: dict[str, Json] = {
    "cautious": {"cautious": True},
    "decoupled": {"decoupled_weight_decay": True},
    "coupled": {"decoupled_weight_decay": False},
    "both": {"cautious": True, "decoupled_weight_decay": True},
}
PAIRS: dict[str, tuple[Json, Json]] = {
    "sgd": ({"kind": "sgd", "lr": 0.1}, {"kind": "sgd", "lr": 0.3, "weight_decay": 0.1}),
    "sgd momentum": (
        {"kind": "sgd", "lr": 0.05, "momentum": 0.9, "dampening": 0.3},
        {"kind": "sgd", "lr": 0.1, "dampening": 0.5},
    ),
    "sgd nesterov": (
        {"kind": "sgd", "lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
        {"kind": "sgd", "lr": 0.05, "momentum": 0.5, "nesterov": True},
    ),
    "sgd maximize": (
        {"kind": "sgd", "lr": 1e-3, "maximize": True},
        {"kind": "sgd", "lr": 2e-3, "maximize": True, "weight_decay": 0.1},
    ),
    "adam": (
        {"kind": "adam", "lr": 0.01},
        {"kind": "adam", "lr": 0.03, "betas": [0.8, 0.95], "eps": 1e-4, "weight_decay": 0.1},
    ),
    "adam amsgrad": (
        {"kind": "adam", "lr": 0.01, "amsgrad": True, "betas": [0.5, 0.6]},
        {"kind": "adam", "lr": 0.02, "amsgrad": True, "betas": [0.9, 0.7]},
    ),
    "adam decoupled": (
        {"kind": "adam", "lr": 0.01, "decoupled_weight_decay": True, "weight_decay": 0.2},
        {"kind": "adam", "lr": 0.02, "decoupled_weight_decay": True},
    ),
    "adamw": ({"kind": "adamw", "lr": 0.01}, {"kind": "adamw", "lr": 0.02, "weight_decay": 0.3}),
    "adamax": (
        {"kind": "adamax", "lr": 0.01},
        {"kind": "adamax", "lr": 0.02, "betas": [0.8, 0.9], "weight_decay": 0.1},
    ),
    "nadam": (
        {"kind": "nadam", "lr": 0.01},
        {"kind": "nadam", "lr": 0.02, "momentum_decay": 0.1, "weight_decay": 0.1},
    ),
    "nadam decoupled": (
        {"kind": "nadam", "lr": 0.01, "decoupled_weight_decay": True, "weight_decay": 0.1},
        {"kind": "nadam", "lr": 0.02, "decoupled_weight_decay": True, "betas": [0.8, 0.9]},
    ),
    "radam": (
        {"kind": "radam", "lr": 0.01},
        {"kind": "radam", "lr": 0.02, "betas": [0.9, 0.8], "weight_decay": 0.1},
    ),
    "radam decoupled": (
        {"kind": "radam", "lr": 0.01, "decoupled_weight_decay": True, "weight_decay": 0.1},
        {"kind": "radam", "lr": 0.02, "decoupled_weight_decay": True, "betas": [0.9, 0.95]},
    ),
    "adagrad": (
        {"kind": "adagrad", "lr": 0.1},
        {"kind": "adagrad", "lr": 0.2, "lr_decay": 0.1, "initial_accumulator_value": 0.1,
         "weight_decay": 0.1, "eps": 1e-3},
    ),
    "adadelta": (
        {"kind": "adadelta", "lr": 1.0},
        {"kind": "adadelta", "lr": 0.5, "rho": 0.7, "eps": 1e-4, "weight_decay": 0.1},
    ),
    "rmsprop": (
        {"kind": "rmsprop", "lr": 0.01},
        {"kind": "rmsprop", "lr": 0.02, "alpha": 0.8, "eps": 1e-4, "weight_decay": 0.1},
    ),
    "rmsprop momentum": (
        {"kind": "rmsprop", "lr": 0.01, "momentum": 0.9},
        {"kind": "rmsprop", "lr": 0.02, "alpha": 0.8},
    ),
    "rmsprop centered": (
        {"kind": "rmsprop", "lr": 0.005, "centered": True, "momentum": 0.5, "eps": 1e-3},
        {"kind": "rmsprop", "lr": 0.01, "centered": True, "eps": 1e-3},
    ),
    "muon": (
        {"kind": "muon", "lr": 0.02},
        {"kind": "muon", "lr": 0.05, "weight_decay": 0.3, "momentum": 0.8, "eps": 1e-3,
         "ns_coefficients": [3.0, -3.2, 1.2], "adamw_betas": [0.8, 0.9], "adamw_lr_scale": 0.3,
         "adamw_eps": 1e-6},
    ),
    "muon matched to adamw": (
        {"kind": "muon", "lr": 0.01, "nesterov": False, "ns_steps": 3,
         "adjust_lr_fn": "match_rms_adamw"},
        {"kind": "muon", "lr": 0.02, "nesterov": False, "ns_steps": 3,
         "adjust_lr_fn": "match_rms_adamw", "momentum": 0.0},
    ),
    "lion": (
        {"kind": "lion", "lr": 0.01},
        {"kind": "lion", "lr": 0.02, "betas": [0.8, 0.95], "weight_decay": 0.3},
    ),
    "lion coupled": (
        {"kind": "lion", "lr": 0.01, "decoupled_weight_decay": False, "weight_decay": 0.1},
        {"kind": "lion", "lr": 0.02, "decoupled_weight_decay": False},
    ),
    "adopt": (
        {"kind": "adopt", "lr": 0.01},
        {"kind": "adopt", "lr": 0.02, "betas": [0.8, 0.95], "weight_decay": 0.3, "eps": 1e-3,
         "clip_exponent": 0.1},
    ),
    "adopt decoupled, not clipped": (
        {"kind": "adopt", "lr": 0.01, "decoupled_weight_decay": True, "use_clipping": False,
         "weight_decay": 0.1},
        {"kind": "adopt", "lr": 0.02, "decoupled_weight_decay": True, "use_clipping": False},
    ),
    "ademamix": (
        {"kind": "ademamix", "lr": 0.01, "alpha_warmup": 20, "beta3_warmup": 25},
        {"kind": "ademamix", "lr": 0.02, "betas": [0.8, 0.95, 0.99], "weight_decay": 0.3,
         "alpha": 5.0},
    ),
    "ademamix coupled": (
        {"kind": "ademamix", "lr": 0.01, "decoupled_weight_decay": False, "weight_decay": 0.1},
        {"kind": "ademamix", "lr": 0.02, "decoupled_weight_decay": False},
    ),
    "lion cautious": (
        {"kind": "lion", "lr": 0.01, "cautious": True},
        {"kind": "lion", "lr": 0.02, "cautious": True, "weight_decay": 0.3},
    ),
    "adopt cautious": (
        {"kind": "adopt", "lr": 0.01, "cautious": True},
        {"kind": "adopt", "lr": 0.02, "cautious": True, "weight_decay": 0.3},
    ),
    "ademamix cautious": (
        {"kind": "ademamix", "lr": 0.01, "cautious": True},
        {"kind": "ademamix", "lr": 0.02, "cautious": True, "weight_decay": 0.3},
    ),
    "prodigy": (
        {"kind": "prodigy", "lr": 0.2, "d0": 1e-3, "eps": 1e-5, "beta3": 0.99},
        {"kind": "prodigy", "lr": 0.5, "d0": 1e-3, "weight_decay": 0.2, "betas": [0.8, 0.9],
         "beta3": 0.9, "growth_rate": 1.5, "d_coef": 2.0, "eps": 1e-5},
    ),
    "prodigy otherwise": (
        {"kind": "prodigy", "d0": 0.01, "decoupled_weight_decay": False, "weight_decay": 0.1,
         "use_bias_correction": True, "safeguard_warmup": True},
        {"kind": "prodigy", "d0": 0.02, "decoupled_weight_decay": False, "lr": 2.0,
         "use_bias_correction": True, "safeguard_warmup": True},
    ),
    "schedule_free_sgd": (
        {"kind": "schedule_free_sgd", "lr": 0.3},
        {"kind": "schedule_free_sgd", "lr": 0.5, "weight_decay": 0.1, "momentum": 0.7,
         "warmup_steps": 5, "r": 1.0, "weight_lr_power": 1.0},
    ),
    "schedule_free_adamw": (
        {"kind": "schedule_free_adamw", "lr": 0.02},
        {"kind": "schedule_free_adamw", "lr": 0.03, "weight_decay": 0.2, "betas": [0.8, 0.9],
         "warmup_steps": 5, "eps": 1e-5},
    ),
    "schedule_free_adamw coupled": (
        {"kind": "schedule_free_adamw", "lr": 0.02, "decoupled_weight_decay": False},
        {"kind": "schedule_free_adamw", "lr": 0.02, "decoupled_weight_decay": False,
         "weight_decay": 0.2},
    ),
    "rprop": (
        {"kind": "rprop", "lr": 0.01},
        {"kind": "rprop", "lr": 0.02, "etas": [0.4, 1.1], "step_sizes": [1e-3, 0.02]},
    ),
}  # fmt: skip


OF_OURS: dict[str, tuple[Json, Json]] = {
    f"{kind} {name}": (
        {"kind": kind, "lr": 0.01, **MOMENTUM.get(kind, {}), **options},
        {"kind": kind, "lr": 0.02, "weight_decay": 0.2, **MOMENTUM.get(kind, {}), **options},
    )
    for kind, model in members("optimizer").items()
    if issubclass(model, TorchOptimizer)
    for name, options in OPTIONS.items()
    if set(options) <= set(model.model_fields)
}
"""Every torch kind with each option that torch's optimizer does not have."""


def job(optimizer: Json | None = None, steps: int = 30, **rest: Any) -> JobSpec:
    return blobs_job(optimizer, steps, **{"precision": "float64", **rest})


@pytest.mark.parametrize("name", [*PAIRS, *OF_OURS])
def test_every_fused_optimizer(name: str, tmp_path: Path) -> None:
    one, other = {**PAIRS, **OF_OURS}[name]
    together = compare_with_alone(
        [job(one), job(other, seed=1), job(one, seed=1)], tmp_path
    )  # fmt: skip
    assert all(ending.fused for ending in together.endings.values())


@pytest.mark.parametrize("hidden", [[9, 2], [3, 17], [1, 5]])
def test_muon_on_matrices_of_all_shapes(hidden: list[int], tmp_path: Path) -> None:
    model = {"kind": "mlp", "hidden": hidden}
    clip = {"kind": "norm", "max_norm": 0.5}
    schedule = {"kind": "one_cycle", "max_lr": 0.05, "total_steps": 30}
    rests: list[Json] = [{}, {"schedule": schedule}, {}]
    specs = [
        job({"kind": "muon", "lr": 0.02}, seed=seed, model=model, gradient_clip=clip, **rest)
        for seed, rest in enumerate(rests)
    ]
    together = compare_with_alone(specs, tmp_path)
    assert all(ending.fused for ending in together.endings.values())


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
    specs = [job(momentum, 14, seed=seed, model=model, batch_size=batch_size) for seed in (0, 0, 5)]
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
    specs = [job(adam, 14, seed=seed, model=NORMED[name]) for seed in (0, 5)]
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
    specs = [with_data(data, job(adam, 14, seed=seed, model=model)) for seed in (0, 5)]
    together = compare_with_alone(specs, tmp_path)
    for weights in together.weights.values():
        assert weights.final is not None
        columns = weights.final["hidden.0.linear.weight"].abs().amax(0).tolist()
        assert columns[1] == 0.0
        assert min(columns[0], columns[2], columns[3]) > 0.0


def test_runs_whose_dropout_gives_a_shift_its_gradient_do_not_share_a_stack() -> None:
    model = {"kind": "mlp", "hidden": [6, 5], "norm": "batch", "activation": "identity"}
    specs = [job(model={**model, "dropout": rate}) for rate in (0.0, 0.1, 0.2)]
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
    together = compare_with_alone([job(model=model) for model in models], tmp_path)
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
        resolved(job(adam, 14, seed=seed, model=model(FUSED[name]), batch_size=batch_size))
        for seed in (0, 0, 5)
    ]
    together = compare_with_alone(specs, tmp_path)
    assert all(ending.fused for ending in together.endings.values())


@pytest.mark.parametrize("name", ALONE)
def test_lists_that_train_one_by_one(name: str, tmp_path: Path) -> None:
    specs = [resolved(job(model=model(ALONE[name]), seed=seed)) for seed in (0, 5)]
    together = compare_with_alone(specs, tmp_path)
    assert not any(ending.fused for ending in together.endings.values())


def test_runs_with_other_probabilities_of_dropout_share_a_stack(tmp_path: Path) -> None:
    def spec(p: float) -> JobSpec:
        layers = [wide(6), RELU, {"kind": "dropout", "p": p}, {"kind": "batch_norm"}, END]
        return resolved(job(model=model(layers)))

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
    spec = job(seed=seed).model_dump(mode="json")
    spec["problem"]["data"]["generator"] = generator
    spec["problem"]["loss"] = loss
    return JobSpec.model_validate_json(json.dumps(spec))


SCHEDULES: list[Json] = [
    {"kind": "constant_factor", "factor": 0.5, "total_iters": 6},
    {"kind": "linear", "start_factor": 0.2, "total_iters": 9},
    {"kind": "step", "step_size": 7, "gamma": 0.5},
    {"kind": "multistep", "milestones": [3, 11], "gamma": 0.3},
    {"kind": "exponential", "gamma": 0.9},
    {"kind": "polynomial", "total_iters": 20, "power": 2.0},
    {"kind": "cosine", "T_max": 12, "eta_min": 0.01},
    {"kind": "cosine_warm_restarts", "T_0": 4, "T_mult": 2, "eta_min": 0.001},
    {"kind": "one_cycle", "max_lr": 0.3, "total_steps": 30},
    {"kind": "cyclic", "base_lr": 0.01, "max_lr": 0.2, "step_size_up": 5},
    {"kind": "reduce_on_plateau", "patience": 1, "factor": 0.5},
    {"kind": "warmup_stable_decay", "warmup_steps": 4, "decay_steps": 9, "total_steps": 25},
    {"kind": "inverse_sqrt", "warmup_steps": 4, "timescale": 6},
    {"kind": "power_cooldown", "cooldown_steps": 9, "total_steps": 25, "power": 2.0},
    {"kind": "cosine_with_min_lr", "warmup_steps": 3, "total_steps": 25},
    {"kind": "piecewise", "boundaries": [6, 9], "factors": [1.0, 0.5, 0.2]},
    {"kind": "warmup", "steps": 5, "then": {"kind": "cosine", "T_max": 20}},
    {"kind": "warmup", "steps": 5, "then": {"kind": "reduce_on_plateau", "patience": 1}},
    {"kind": "sequential", "milestones": [10],
     "schedules": [{"kind": "exponential", "gamma": 0.8}, {"kind": "one_cycle", "max_lr": 0.2,
                                                           "total_steps": 20}]},
    {"kind": "chained", "schedules": [{"kind": "exponential", "gamma": 0.95},
                                      {"kind": "cosine", "T_max": 25, "eta_min": 1e-3},
                                      {"kind": "inverse_sqrt", "timescale": 9}]},
]  # fmt: skip


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: str(schedule["kind"]))
def test_every_schedule_beside_a_constant_rate(
    schedule: Json, optimizer: str, tmp_path: Path
) -> None:
    specs = [
        job({"kind": optimizer, "lr": 0.05}, schedule=schedule),
        job({"kind": optimizer, "lr": 0.1}, schedule=schedule),
        job({"kind": optimizer, "lr": 0.02}),
    ]
    compare_with_alone(specs, tmp_path)


@pytest.mark.parametrize(
    "clips",
    [
        [{"kind": "norm", "max_norm": 0.1}, {"kind": "norm", "max_norm": 3.0}],
        [{"kind": "norm", "max_norm": 0.2, "norm_type": 3.0}] * 2,
        [{"kind": "value", "clip_value": 0.01}, {"kind": "value", "clip_value": 0.1}],
    ],
    ids=["norm", "3-norm", "value"],
)
def test_thresholds_of_their_own(clips: list[Json], tmp_path: Path) -> None:
    compare_with_alone([job(gradient_clip=clip) for clip in clips], tmp_path)


def test_rows_left_out_and_no_evaluation_data(tmp_path: Path) -> None:
    records: Json = {"record": {"every": 4, "eval_every": None}, "eval_fraction": 0.0}
    specs = [job(steps=steps, **records) for steps in (9, 13, 22)]
    specs += [job(steps=30, stop={"target_loss": goal}, **records) for goal in (0.5, 0.2)]
    compare_with_alone(specs, tmp_path)


def test_evaluation_at_the_end_only(tmp_path: Path) -> None:
    record = {"every": 3, "eval_every": None}
    compare_with_alone([job(steps=steps, record=record) for steps in (10, 12, 17)], tmp_path)


def test_batch_norm_that_stops_at_a_row_keeps_the_statistics_before_it(tmp_path: Path) -> None:
    specs = [job(steps=25, model=MODELS["all"], stop={"target_loss": g}) for g in (0.9, 0.6, 0.01)]
    together = compare_with_alone(specs, tmp_path)
    assert together.endings[0].ending.outcome == "converged"


def test_single_precision_agrees_to_its_rounding(tmp_path: Path) -> None:
    specs = [blobs_job({"kind": "adam", "lr": lr}, 30, seed=1) for lr in (0.001, 0.01)]
    compare_with_alone(specs, tmp_path, rtol=2e-4, atol=2e-5)


def test_an_optimizer_without_a_rule_for_stacks_runs_alone_by_the_same_interface(
    tmp_path: Path,
) -> None:
    specs = [job({"kind": "lbfgs", "lr": 0.5}, 5), job({"kind": "asgd"}, 8), job(), job()]
    together = compare_with_alone(specs, tmp_path)
    assert [together.endings[number].fused for number in range(4)] == [False, False, True, True]
