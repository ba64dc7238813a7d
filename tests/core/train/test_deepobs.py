"""The job of `tests.core.train.deepobs` is the noisy quadratic of that benchmark."""

import numpy as np

from tests.core.train.deepobs import DIM, ROWS, hessian, loss_of, rows, trained


def test_the_problem_is_the_benchmarks() -> None:
    q = hessian()
    values = np.linalg.eigvalsh(q)
    assert np.sum(values > 30) == 10
    assert np.all((values > 0) & ((values < 1) | (values < 60)))
    np.testing.assert_allclose(np.trace(q), values.sum())
    np.testing.assert_allclose(loss_of(q, rows(43)[0], rows(43)[:1].repeat(128, 0)), 0.0)


def test_full_batches_follow_the_recurrence_of_a_quadratic() -> None:
    """θ − x̄ shrinks by I − η·Q each step, x̄ the mean of all rows."""
    q, mean, lr, steps = hessian(), rows(42).mean(0), 0.01, 5
    found = trained({"kind": "sgd", "lr": lr}, q, seed=0, steps=steps, batch=ROWS)
    shrunk = np.linalg.matrix_power(np.eye(DIM) - lr * q, steps) @ (np.ones(DIM) - mean)
    np.testing.assert_allclose(found, mean + shrunk, atol=2e-6)
