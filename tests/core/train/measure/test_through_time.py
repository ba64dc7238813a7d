"""Gradients through time: those of a model by hand, and what the diagnosis says of them."""

import json
from typing import Any, Final

import pytest
import torch
from torch import nn
from torch.nn import functional

from core.specs.job import JobSpec
from core.specs.parsing.job import parse_job
from core.specs.validation.limits import Limits
from core.train.measure.layers import through_time
from core.train.measure.objective import build_objective
from tests.core.diagnosis.labelled.running import perform

Json = dict[str, Any]
LENGTH: Final = 50


def adding(kind: str, **rest: Any) -> JobSpec:
    """Hochreiter and Schmidhuber's problem: the sum of two marked numbers among fifty."""
    generator = {"kind": "adding_problem", "length": LENGTH, "num_samples": 128}
    problem = {
        "kind": "supervised",
        "data": {"kind": "synthetic", "generator": generator, "standardize": False},
        "model": {"kind": kind, **({"hidden_size": 8} if kind == "rnn" else {}), **rest},
    }
    body = {
        "problem": problem,
        "optimizer": {"kind": "sgd", "lr": 0.05},
        "budget": {"max_steps": 60},
        "diagnose": "full",
    }
    return parse_job(json.dumps(body).encode(), Limits())


def measured(spec: JobSpec) -> Json:
    model = build_objective(spec, None, torch.device("cpu")).model
    assert model is not None
    found = through_time(model)
    assert found is not None
    return found


def test_each_steps_gradient_is_the_one_by_hand() -> None:
    spec = adding("rnn")
    model = build_objective(spec, None, torch.device("cpu")).model
    assert model is not None
    found = through_time(model)
    assert found is not None
    by_hand, output = nn.RNN(2, 8, batch_first=True).double(), nn.Linear(8, 1).double()
    by_hand.load_state_dict(model.module.get_submodule("recurrent.0").state_dict())
    output.load_state_dict(model.module.get_submodule("output").state_dict())
    x = model.features.reshape(-1, LENGTH, 2).clone().requires_grad_()
    functional.mse_loss(output(by_hand(x)[0][:, -1]), model.targets).backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    expected = [float(x.grad[:, time].norm()) for time in range(LENGTH)]
    assert (found["layer"], found["steps"]) == ("recurrent.0", LENGTH)
    assert found["at"] == list(range(LENGTH))
    assert found["norms"] == pytest.approx(expected, rel=1e-9)
    # Each step multiplies by a matrix of small norm (Pascanu et al. 2013, section 2.1).
    assert found["norms"][0] < 1e-6 * found["norms"][-1]


def test_the_mean_of_all_states_reaches_each_step() -> None:
    norms = measured(adding("rnn", pooling="mean"))["norms"]
    assert min(norms) > 0.1 * max(norms)


def test_the_diagnosis_names_a_gradient_that_is_lost_between_the_steps() -> None:
    """And offers gates, in a model of the same size."""
    run = perform(adding("rnn"))
    finding = next(
        each for each in run.diagnosis["findings"] if each["rule"] == "vanishing_through_time"
    )
    assert finding["status"] == "triggered"
    evidence = finding["evidence"]
    assert evidence["weakest_over_strongest"] < 1e-6
    assert (evidence["weakest_step"], evidence["strongest_step"]) == (1.0, 50.0)
    assert evidence["factor_a_step"] ** 49 == pytest.approx(evidence["weakest_over_strongest"])
    assert "step 1 " in finding["explanation"]
    assert run.diagnosis["verdict"] == "plateau"
    gates = run.diagnosis["remedies"][0]["patch"]["problem"]["model"]
    assert (gates["kind"], gates["hidden_size"]) == ("lstm", 8)


def test_a_model_without_recurrence_has_no_steps() -> None:
    model = build_objective(adding("transformer", dim=8), None, torch.device("cpu"))
    assert model.model is not None
    assert through_time(model.model) is None
