"""A run in a stack gives the numbers of the same spec run alone."""

import json
from pathlib import Path

import pytest

from core.specs.optimizers.kinds import TorchOptimizer
from core.specs.parsing.job import parse_job
from core.specs.unions import members
from core.specs.validation.limits import Limits
from tests.core.train.fused.harness import Json, blobs64, compare_with_alone
from tests.core.train.harness import blobs_job

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


@pytest.mark.parametrize("name", [*PAIRS, *OF_OURS])
def test_every_fused_optimizer(name: str, tmp_path: Path) -> None:
    one, other = {**PAIRS, **OF_OURS}[name]
    together = compare_with_alone(
        [blobs64(one), blobs64(other, seed=1), blobs64(one, seed=1)], tmp_path
    )  # fmt: skip
    assert all(ending.fused for ending in together.endings.values())


@pytest.mark.parametrize("hidden", [[9, 2], [3, 17], [1, 5]])
def test_muon_on_matrices_of_all_shapes(hidden: list[int], tmp_path: Path) -> None:
    model = {"kind": "mlp", "hidden": hidden}
    clip = {"kind": "norm", "max_norm": 0.5}
    schedule = {"kind": "one_cycle", "max_lr": 0.05, "total_steps": 30}
    rests: list[Json] = [{}, {"schedule": schedule}, {}]
    specs = [
        blobs64({"kind": "muon", "lr": 0.02}, seed=seed, model=model, gradient_clip=clip, **rest)
        for seed, rest in enumerate(rests)
    ]
    together = compare_with_alone(specs, tmp_path)
    assert all(ending.fused for ending in together.endings.values())


def test_muon_on_a_model_with_tables(tmp_path: Path) -> None:
    problem = {
        "kind": "language_model", "context": 6,
        "data": {"kind": "text", "text": "to be or not to be " * 9},
        "model": {"kind": "transformer", "dim": 4, "num_heads": 2, "num_layers": 1},
    }  # fmt: skip
    bodies = [
        {
            "problem": problem, "optimizer": {"kind": "muon", "lr": lr}, "seed": seed,
            "precision": "float64", "batch_size": 8, "budget": {"max_steps": 12},
        }
        for seed, lr in enumerate((0.01, 0.03))
    ]  # fmt: skip
    specs = [parse_job(json.dumps(body).encode(), Limits()) for body in bodies]
    together = compare_with_alone(specs, tmp_path)
    assert all(ending.fused for ending in together.endings.values())


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
        blobs64({"kind": optimizer, "lr": 0.05}, schedule=schedule),
        blobs64({"kind": optimizer, "lr": 0.1}, schedule=schedule),
        blobs64({"kind": optimizer, "lr": 0.02}),
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
    compare_with_alone([blobs64(gradient_clip=clip) for clip in clips], tmp_path)


def test_rows_left_out_and_no_evaluation_data(tmp_path: Path) -> None:
    records: Json = {"record": {"every": 4, "eval_every": None}, "eval_fraction": 0.0}
    specs = [blobs64(steps=steps, **records) for steps in (9, 13, 22)]
    specs += [blobs64(steps=30, stop={"target_loss": goal}, **records) for goal in (0.5, 0.2)]
    compare_with_alone(specs, tmp_path)


def test_evaluation_at_the_end_only(tmp_path: Path) -> None:
    record = {"every": 3, "eval_every": None}
    compare_with_alone([blobs64(steps=steps, record=record) for steps in (10, 12, 17)], tmp_path)


def test_single_precision_agrees_to_its_rounding(tmp_path: Path) -> None:
    specs = [blobs_job({"kind": "adam", "lr": lr}, 30, seed=1) for lr in (0.001, 0.01)]
    compare_with_alone(specs, tmp_path, rtol=2e-4, atol=2e-5)


def test_an_optimizer_without_a_rule_for_stacks_runs_alone_by_the_same_interface(
    tmp_path: Path,
) -> None:
    specs = [
        blobs64({"kind": "lbfgs", "lr": 0.5}, 5),
        blobs64({"kind": "asgd"}, 8),
        blobs64(),
        blobs64(),
    ]
    together = compare_with_alone(specs, tmp_path)
    assert [together.endings[number].fused for number in range(4)] == [False, False, True, True]
