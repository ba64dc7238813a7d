"""Remedies that change the model rather than the steps: initial weights, activations, norms."""

from collections.abc import Iterator

from core.diagnosis.evidence.evidence import Evidence
from core.diagnosis.finding import Findings
from core.diagnosis.remedies.patches import Remedy
from core.specs.base import Json
from core.specs.job import DataProblem
from core.specs.models import HiddenLayers, KaimingUniform, RNNModel
from core.specs.sizes.first_weights import equal_first_weights

_FLAT_ENDS = frozenset({"sigmoid", "tanh", "softsign"})


def better_start(e: Evidence) -> Iterator[Remedy]:
    """Propose initial weights whose size fits the layers' widths."""
    problem = e.spec.problem
    if not isinstance(problem, DataProblem) or isinstance(problem.model.init, KaimingUniform):
        return
    if problem.model.initial_weights is not None:
        return
    base = None if e.measured is None else e.measured.constant_loss
    yield Remedy(
        {"problem": {"model": {"init": {"kind": "kaiming_uniform"}}}},
        "First weights of variance 2/fan-in keep the signal's size from layer to layer.",
        {"first_loss": 1.5 * base} if base else {"final_loss_below": e.level.start},
    )


def keep_the_gradient(e: Evidence) -> Iterator[Remedy]:
    """Activations with a slope of 1, weights that fit them, and normalized layers."""
    model = _with_hidden_layers(e)
    if model is None:
        return
    patch: Json = {"init": {"kind": "kaiming_uniform"}}
    if model.activation in _FLAT_ENDS:
        patch["activation"] = "relu"
    if _lacks_norm(model):
        patch["norm"] = {"kind": "layer"}
    yield Remedy(
        {"problem": {"model": patch}},
        "A slope of 1, first weights of variance 2/fan-in and normalized layers keep the gradient's"
        " size on its way down.",
        {"final_loss_below": e.level.end},
    )


def keep_the_past(findings: Findings, e: Evidence) -> Iterator[Remedy]:
    """Gates in place of plain recurrence, where the gradient is lost between the steps."""
    problem = e.spec.problem
    if not isinstance(problem, DataProblem) or not isinstance(problem.model, RNNModel):
        return
    if not findings["vanishing_through_time"].triggered:
        return
    if not findings["constant_guess"].triggered:
        return  # it may be that what stands near is all that there is to learn from
    kept = problem.model.model_dump(mode="json", exclude={"kind", "nonlinearity"})
    yield Remedy(
        {"problem": {"model": {"kind": "lstm", **kept}}},
        "The state of gated cells is added to, not multiplied at each step, so that its gradient"
        " lasts (Hochreiter and Schmidhuber 1997).",
        {"final_loss_below": e.level.end},
    )


def normalize_layers(e: Evidence) -> Iterator[Remedy]:
    """Norms in a deep model that has none."""
    model = _with_hidden_layers(e)
    if model is not None and _lacks_norm(model) and len(model.hidden) >= 3:
        yield Remedy(
            {"problem": {"model": {"norm": {"kind": "layer"}}}},
            "Normalized layers keep the gradient's size on its way through a deep model.",
            {"final_loss_below": e.level.end},
        )


def _lacks_norm(model: HiddenLayers) -> bool:
    """Tell whether the model has no norm and may have one of layers: over one unit it is a
    constant."""
    return model.norm is None and 1 not in model.hidden


def add_dropout(e: Evidence, loss: float) -> Iterator[Remedy]:
    """Dropout, or more of it, for an evaluation loss below `loss`."""
    model = _with_hidden_layers(e)
    if model is not None and model.hidden and model.dropout < 0.2:
        yield Remedy(
            {"problem": {"model": {"dropout": 0.3}}},
            "Dropout keeps units from fitting single rows together.",
            {"eval_loss_below": loss},
        )


def _with_hidden_layers(e: Evidence) -> HiddenLayers | None:
    """Return the run's model if it has activation, norm and dropout to change, else None."""
    problem = e.spec.problem
    if not isinstance(problem, DataProblem) or not isinstance(problem.model, HiddenLayers):
        return None
    return problem.model


def other_weights(e: Evidence) -> Iterator[Remedy]:
    """Propose other initial weights for a model at rest where it should not be."""
    problem = e.spec.problem
    if not isinstance(problem, DataProblem):
        return
    lower = None if e.at_end is None else e.at_end.other_minimum
    expected = {"final_loss_below": e.level.end if lower is None else lower}
    if equal_first_weights(problem.model, e.spec.precision) is not None:
        yield Remedy(
            {"problem": {"model": {"init": {"kind": "kaiming_uniform"}}}},
            "Equal first weights leave the units of a layer alike; random ones tell them apart.",
            expected,
        )
    elif problem.model.initial_weights is not None:
        yield Remedy(
            {"problem": {"model": {"initial_weights": None}}},
            "First weights that are drawn lead elsewhere.",
            expected,
        )
    else:
        yield Remedy(
            {"seed": (e.spec.seed + 1) % 2**31},
            "Other first weights lead elsewhere.",
            expected,
        )
