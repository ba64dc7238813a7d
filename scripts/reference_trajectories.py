"""Reference trajectories of the optimizers that torch does not have, by other people's libraries.

    python -m venv .references
    .references/bin/pip install '.[worker,references]'
    .references/bin/python scripts/reference_trajectories.py

writes tests/core/train/optim/trajectories.json: the inputs, and of each case the options, the
library with its version, and the weights after some steps, in double precision. The gradient of
step t at the weights w is slope·w + noise[t], number by number, so that any library can follow it.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from numpy.typing import NDArray
from optax import contrib

Floats = NDArray[np.float64]
PAGE: Final = Path(__file__).resolve().parent.parent / "tests/core/train/optim/trajectories.json"
SHAPES: Final = ((4, 3), (3,), ())
STEPS: Final = 25
SHOWN: Final = (1, 2, 10, 25)


def drawn(source: np.random.Generator) -> list[Floats]:
    return [source.standard_normal(shape) for shape in SHAPES]


DRAW: Final = np.random.default_rng(20261129)
START: Final = drawn(DRAW)
SLOPE: Final = [np.abs(each) + 0.1 for each in drawn(DRAW)]
NOISE: Final = [[0.3 * each for each in drawn(DRAW)] for _ in range(STEPS)]


def gradient(step: int, weights: list[Floats]) -> list[Floats]:
    return [s * w + n for s, w, n in zip(SLOPE, weights, NOISE[step], strict=True)]


@dataclass(frozen=True)
class Case:
    """Attributes:
    spec: as in a job's `optimizer`.
    library: distribution that the steps are taken by.
    follow: the steps from START.
    """

    spec: dict[str, Any]
    library: str
    follow: Callable[[], list[list[Floats]]]


def by_optax(method: Any) -> list[list[Floats]]:
    """Weights after each step."""
    weights = [jnp.asarray(each) for each in START]
    state = method.init(weights)
    found = []
    for step in range(STEPS):
        gradients = [jnp.asarray(g) for g in gradient(step, [np.asarray(w) for w in weights])]
        updates, state = method.update(gradients, state, weights)
        weights = optax.apply_updates(weights, updates)
        found.append([np.asarray(each) for each in weights])
    return found


def by_torch(make: Callable[[Any], Any], *, least_axes: int = 0) -> list[list[Floats]]:
    """Weights after each step; `least_axes`: 1 where the method needs one."""
    weights = [torch.nn.Parameter(torch.tensor(each)) for each in START]
    if least_axes:
        weights = [
            torch.nn.Parameter(each.detach().reshape(each.shape or (1,))) for each in weights
        ]
    method = make(weights)
    found = []
    for step in range(STEPS):
        now = [
            each.detach().numpy().reshape(start.shape)
            for each, start in zip(weights, START, strict=True)
        ]
        for weight, each in zip(weights, gradient(step, now), strict=True):
            weight.grad = torch.tensor(each).view_as(weight)
        method.step()
        found.append(
            [
                each.detach().numpy().reshape(start.shape).copy()
                for each, start in zip(weights, START, strict=True)
            ]
        )
    return found


def lion(**options: Any) -> Any:
    from lion_pytorch import Lion

    return lambda weights: Lion(weights, **options)


def cautious_lion(**options: Any) -> Any:
    from lion_pytorch.cautious_lion import Lion

    return lambda weights: Lion(weights, **options)


def schedule_free(name: str, **options: Any) -> Any:
    import schedulefree

    def make(weights: Any) -> Any:
        method = getattr(schedulefree, name)(weights, foreach=False, **options)
        method.train()
        return method

    return make


def prodigy(**options: Any) -> Any:
    from prodigyopt import Prodigy

    return lambda weights: Prodigy(weights, **options)


def others(name: str, **options: Any) -> Any:
    import pytorch_optimizer

    return lambda weights: getattr(pytorch_optimizer, name)(weights, **options)


def soap(**options: Any) -> list[list[Floats]]:
    """SOAP of pytorch-optimizer, whose QR decomposition is made in single precision: here it is in
    double, so that digits can be compared."""
    with mock.patch("torch.float32", torch.float64):
        return by_torch(others("SOAP", **options))


CASES: Final = [
    Case(
        {"kind": "shampoo", "lr": 0.3, "momentum": 0.0, "eps": 1e-3, "precondition_frequency": 1},
        "pytorch-optimizer",
        lambda: by_torch(others("Shampoo", lr=0.3, matrix_eps=1e-3), least_axes=1),
    ),
    Case(
        {"kind": "shampoo", "lr": 0.1, "momentum": 0.0, "weight_decay": 0.2,
         "decoupled_weight_decay": True, "precondition_frequency": 1},
        "pytorch-optimizer",
        lambda: by_torch(
            others("Shampoo", lr=0.1, matrix_eps=1e-4, weight_decay=0.2, weight_decouple=True),
            least_axes=1,
        ),
    ),
    Case(
        {"kind": "soap", "lr": 0.03, "precondition_frequency": 4}, "pytorch-optimizer",
        lambda: soap(lr=0.03, precondition_frequency=4),
    ),
    Case(
        {"kind": "soap", "lr": 0.02, "betas": [0.8, 0.9], "shampoo_beta": 0.7, "weight_decay": 0.3,
         "eps": 1e-4, "precondition_1d": True, "correct_bias": False, "precondition_frequency": 1},
        "pytorch-optimizer",
        lambda: soap(lr=0.02, betas=(0.8, 0.9), shampoo_beta=0.7, weight_decay=0.3, eps=1e-4,
                     precondition_1d=True, correct_bias=False, precondition_frequency=1),
    ),
    Case(
        {"kind": "lion", "lr": 0.01, "weight_decay": 0.2}, "optax",
        lambda: by_optax(optax.lion(0.01, weight_decay=0.2)),
    ),
    Case(
        {"kind": "lion", "lr": 0.02, "betas": [0.8, 0.95]}, "lion-pytorch",
        lambda: by_torch(lion(lr=0.02, betas=(0.8, 0.95))),
    ),
    Case(
        {"kind": "lion", "lr": 0.02, "cautious": True}, "lion-pytorch",
        lambda: by_torch(cautious_lion(lr=0.02, cautious_factor=0.0)),
    ),
    Case(
        {"kind": "adopt", "lr": 0.03, "betas": [0.8, 0.95]}, "optax",
        lambda: by_optax(contrib.adopt(0.03, b1=0.8, b2=0.95)),
    ),
    Case(
        {"kind": "adopt", "lr": 0.03, "use_clipping": False, "eps": 0.5}, "optax",
        lambda: by_optax(contrib.adopt(0.03, use_clipping=False, eps=0.5)),
    ),
    Case(
        {"kind": "adopt", "lr": 0.03, "weight_decay": 0.3}, "optax",
        lambda: by_optax(optax.chain(optax.add_decayed_weights(0.3), contrib.adopt(0.03))),
    ),
    Case(
        {"kind": "ademamix", "lr": 0.03, "betas": [0.8, 0.95, 0.99], "weight_decay": 0.2}, "optax",
        lambda: by_optax(
            contrib.ademamix(0.03, b1=0.8, b2=0.95, b3=0.99, alpha=2.0, weight_decay=0.2)
        ),
    ),
    Case(
        {"kind": "ademamix", "lr": 0.01, "alpha": 8.0, "alpha_warmup": 20}, "optax",
        lambda: by_optax(
            contrib.ademamix(0.01, alpha=lambda count: 8.0 * jnp.minimum((count + 1) / 20, 1.0))
        ),
    ),
    Case(
        {"kind": "schedule_free_sgd", "lr": 0.5, "weight_decay": 0.1}, "schedulefree",
        lambda: by_torch(schedule_free("SGDScheduleFree", lr=0.5, weight_decay=0.1)),
    ),
    Case(
        {"kind": "schedule_free_sgd", "lr": 0.3, "momentum": 0.7, "warmup_steps": 8, "r": 1.0,
         "weight_lr_power": 1.0},
        "schedulefree",
        lambda: by_torch(
            schedule_free("SGDScheduleFree", lr=0.3, momentum=0.7, warmup_steps=8, r=1.0,
                          weight_lr_power=1.0)
        ),
    ),
    Case(
        {"kind": "schedule_free_sgd", "lr": 0.4}, "optax",
        lambda: by_optax(contrib.schedule_free_sgd(0.4)),
    ),
    Case(
        {"kind": "schedule_free_adamw", "lr": 0.05, "weight_decay": 0.2, "warmup_steps": 6},
        "schedulefree",
        lambda: by_torch(
            schedule_free("AdamWScheduleFree", lr=0.05, weight_decay=0.2, warmup_steps=6)
        ),
    ),
    Case(
        {"kind": "schedule_free_adamw", "lr": 0.05, "betas": [0.8, 0.9], "eps": 1e-3}, "optax",
        lambda: by_optax(contrib.schedule_free_adamw(0.05, b1=0.8, b2=0.9, eps=1e-3)),
    ),
    Case(
        {"kind": "prodigy", "weight_decay": 0.2, "d0": 1e-3}, "prodigyopt",
        lambda: by_torch(prodigy(weight_decay=0.2, d0=1e-3)),
    ),
    Case(
        {"kind": "prodigy", "lr": 0.7, "betas": [0.8, 0.95], "beta3": 0.9, "d0": 1e-2,
         "growth_rate": 1.2, "d_coef": 2.0, "use_bias_correction": True, "safeguard_warmup": True,
         "weight_decay": 0.3, "decoupled_weight_decay": False},
        "prodigyopt",
        lambda: by_torch(
            prodigy(lr=0.7, betas=(0.8, 0.95), beta3=0.9, d0=1e-2, growth_rate=1.2, d_coef=2.0,
                    use_bias_correction=True, safeguard_warmup=True, weight_decay=0.3,
                    decouple=False)
        ),
    ),
    Case(
        {"kind": "prodigy", "d0": 1e-2, "use_bias_correction": True}, "optax",
        lambda: by_optax(contrib.prodigy(1.0, estim_lr0=1e-2)),
    ),
]  # fmt: skip


def plain(parts: list[Floats]) -> list[Any]:
    return [part.tolist() for part in parts]


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    cases = []
    for case in CASES:
        weights = case.follow()
        by_step = {str(step): plain(weights[step - 1]) for step in SHOWN}
        library = f"{case.library} {version(case.library)}"
        cases.append({"spec": case.spec, "library": library, "weights": by_step})
    written = {
        "written_by": "scripts/reference_trajectories.py",
        "start": plain(START),
        "slope": plain(SLOPE),
        "noise": [plain(each) for each in NOISE],
        "cases": cases,
    }
    PAGE.write_text(json.dumps(written, indent=None, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
