"""Remedies that change the model rather than the steps: first weights, activations, norms."""

from collections.abc import Iterator

from core.diagnosis.evidence.evidence import Evidence
from core.diagnosis.finding import Json
from core.diagnosis.remedies.patches import Remedy
from core.specs.job import Supervised
from core.specs.models import MLP, ConstantInit, KaimingUniform

_FLAT_ENDS = frozenset({"sigmoid", "tanh", "softsign"})


def better_start(e: Evidence) -> Iterator[Remedy]:
    """First weights whose size fits the layers' widths."""
    problem = e.spec.problem
    if not isinstance(problem, Supervised) or isinstance(problem.model.init, KaimingUniform):
        return
    base = None if e.measured is None else e.measured.constant_loss
    yield Remedy(
        {"problem": {"model": {"init": {"kind": "kaiming_uniform"}}}},
        "First weights of variance 2/fan-in keep the signal's size from layer to layer.",
        {"first_loss": 1.5 * base} if base else {"final_loss_below": e.level.start},
    )


def keep_the_gradient(e: Evidence) -> Iterator[Remedy]:
    """Activations with a slope of 1, weights that fit them, and normalized layers."""
    problem = e.spec.problem
    if not isinstance(problem, Supervised) or not isinstance(problem.model, MLP):
        return
    model: Json = {"init": {"kind": "kaiming_uniform"}}
    if problem.model.activation in _FLAT_ENDS:
        model["activation"] = "relu"
    if problem.model.norm is None:
        model["norm"] = {"kind": "layer"}
    yield Remedy(
        {"problem": {"model": model}},
        "A slope of 1, first weights of variance 2/fan-in and normalized layers keep the gradient's"
        " size on its way down.",
        {"final_loss_below": e.level.end},
    )


def other_weights(e: Evidence) -> Iterator[Remedy]:
    """A model at rest where it should not be: other first weights."""
    problem = e.spec.problem
    if not isinstance(problem, Supervised):
        return
    lower = None if e.at_end is None else e.at_end.other_minimum
    expected = {"final_loss_below": e.level.end if lower is None else lower}
    if isinstance(problem.model.init, ConstantInit):
        yield Remedy(
            {"problem": {"model": {"init": {"kind": "kaiming_uniform"}}}},
            "Equal first weights leave the units of a layer alike; random ones tell them apart.",
            expected,
        )
    else:
        yield Remedy(
            {"seed": (e.spec.seed + 1) % 2**31},
            "Other first weights lead elsewhere.",
            expected,
        )
