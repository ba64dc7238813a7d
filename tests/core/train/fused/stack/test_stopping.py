"""The stop rules of many runs are those of one."""

import numpy as np

from core.specs.job import JobSpec
from core.train.fused.stack.stopping import OUTCOMES, Traces
from core.train.stopping import Trace, observe, rules_of
from tests.core.train.harness import parabola

STOPS = [
    {},
    {"target_loss": 0.2},
    {"gradient_norm": 0.1},
    {"patience": 4},
    {"patience": 3, "min_delta": 0.3},
    {"max_loss": 2.0},
    {"target_loss": 0.1, "patience": 6, "max_loss": 3.0, "gradient_norm": 0.01},
]


def test_every_row_ends_the_runs_that_it_would_end_alone() -> None:
    specs: list[JobSpec] = [parabola(0.1, stop=stop) for stop in STOPS for _ in range(20)]
    source = np.random.default_rng(3)
    together = Traces(specs)
    alone = [Trace() for _ in specs]
    ended: set[int] = set()
    for _ in range(40):
        losses = np.abs(source.normal(size=len(specs)))
        losses[source.random(len(specs)) < 0.02] = np.nan
        norms = source.random(len(specs)) + 0.05
        codes = together.observe(losses, norms)
        for run, spec in enumerate(specs):
            if run in ended:
                continue
            outcome = observe(
                alone[run], float(losses[run]), float(norms[run]), rules_of(spec.stop)
            )
            assert OUTCOMES[codes[run]] == outcome
            mine = together.one(run)
            for name in ("first", "best", "last"):
                np.testing.assert_equal(getattr(mine, name), getattr(alone[run], name))
            np.testing.assert_equal(list(mine.tail), list(alone[run].tail))
            if outcome is not None:
                ended.add(run)
    assert len(ended) > 60
