"""Learning rates at once in JAX: `vmap` over the runs, `scan` over the steps, optax's Adam.

As their documentation shows it: one jitted function, whose learning rate is a hyperparameter that
`optax.inject_hyperparams` makes an argument. Run as a program:
`python -m benchmarks.jax_study '{"runs": 64, "steps": 2200}'` prints JSON: seconds with the
compilation, and without.
"""

import json
import sys
from time import perf_counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.optuna_study import BATCH, datasets


def batches(rows: int, steps: int) -> np.ndarray[Any, Any]:
    """Row numbers of each step: epochs of shuffled batches, the last short one left out."""
    draw = np.random.default_rng(0)
    per_epoch = rows // BATCH
    epochs = -(-steps // per_epoch)
    order = [draw.permutation(rows)[: per_epoch * BATCH] for _ in range(epochs)]
    return np.concatenate(order).reshape(-1, BATCH)[:steps]


def initial(key: jax.Array) -> dict[str, jax.Array]:
    """64-64-10, weights uniform in ±1/√inputs."""
    first, second = jax.random.split(key)
    bound = 1 / 8
    return {
        "w1": jax.random.uniform(first, (64, 64), minval=-bound, maxval=bound),
        "b1": jnp.zeros(64),
        "w2": jax.random.uniform(second, (64, 10), minval=-bound, maxval=bound),
        "b2": jnp.zeros(10),
    }


def seconds(*, runs: int, steps: int) -> dict[str, float]:
    """Wall time of the first call, and the median of three more."""
    train, _ = datasets()
    x, y = (jnp.asarray(tensor.numpy()) for tensor in train.tensors)
    rows = jnp.asarray(batches(len(x), steps))

    def loss_of(weights: dict[str, jax.Array], index: jax.Array) -> jax.Array:
        hidden = jax.nn.relu(x[index] @ weights["w1"] + weights["b1"])
        logits = hidden @ weights["w2"] + weights["b2"]
        losses: jax.Array = optax.softmax_cross_entropy_with_integer_labels(logits, y[index])
        return losses.mean()

    def train_one(lr: jax.Array) -> jax.Array:
        optimizer = optax.inject_hyperparams(optax.adam)(learning_rate=lr)
        weights = initial(jax.random.key(0))

        def step(carry: Any, index: jax.Array) -> tuple[Any, jax.Array]:
            weights, state = carry
            loss, gradient = jax.value_and_grad(loss_of)(weights, index)
            updates, state = optimizer.update(gradient, state)
            return (optax.apply_updates(weights, updates), state), loss

        losses: jax.Array = jax.lax.scan(step, (weights, optimizer.init(weights)), rows)[1]
        return losses

    train_all = jax.jit(jax.vmap(train_one))
    rates = jnp.geomspace(1e-4, 1e-1, runs)
    times = []
    for _ in range(4):
        begin = perf_counter()
        train_all(rates).block_until_ready()
        times.append(perf_counter() - begin)
    return {"cold": times[0], "warm": sorted(times[1:])[1]}


if __name__ == "__main__":
    print(json.dumps(seconds(**json.loads(sys.argv[1]))))
