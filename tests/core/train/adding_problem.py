"""Trial: what Hochreiter and Schmidhuber's adding problem asks of recurrent models.

`python -m tests.core.train.adding_problem`: of 50 pairs (value, marker) the two marked values are
to be added. The best constant is off by 1/6 (mean squared). An LSTM comes below a tenth of it; of a
plain recurrent network, which stays at it, the diagnosis says that the gradient vanishes between
the steps.
"""

import json
import sys
from typing import Any, Final

from core.specs.job import JobSpec
from core.specs.parsing.job import parse_job
from core.specs.validation.limits import Limits
from tests.core.diagnosis.labelled.running import perform

LENGTH: Final = 50
CONSTANT: Final = 1 / 6


def job(kind: str, steps: int) -> JobSpec:
    generator = {"kind": "adding_problem", "length": LENGTH, "num_samples": 12_000}
    data = {"kind": "synthetic", "generator": generator, "standardize": False}
    body = {
        "problem": {
            "kind": "supervised",
            "data": data,
            "model": {"kind": kind, "hidden_size": 32},
        },
        "optimizer": {"kind": "adam", "lr": 0.005},
        "gradient_clip": {"kind": "norm", "max_norm": 1.0},
        "batch_size": 64,
        "budget": {"max_steps": steps},
        "stop": {"metric": "eval.loss", "target": CONSTANT / 20},
        "record": {"eval_every": 200},
        "diagnose": "full",
    }
    return parse_job(json.dumps(body).encode(), Limits())


def evaluated(run: Any) -> float:
    """Return the mean squared error of the rows held back."""
    return float(run.evaluation["loss"][-1])


def main() -> int:
    """Train both; 0 when each does what it is known for."""
    lstm = perform(job("lstm", 6000))
    error = evaluated(lstm)
    print(f"lstm: {error:.4f}, {error / CONSTANT:.3f} of the constant guess")
    rnn = perform(job("rnn", 600))
    found = next(
        each for each in rnn.diagnosis["findings"] if each["rule"] == "vanishing_through_time"
    )
    print(f"rnn: {evaluated(rnn):.4f}; {found['status']}: {found['explanation']}")
    remedies = [each["patch"] for each in rnn.diagnosis["remedies"]]
    print(f"remedies: {json.dumps(remedies)}")
    gates = any("lstm" in json.dumps(patch) for patch in remedies)
    holds = error < CONSTANT / 10 and found["status"] == "triggered" and gates
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
