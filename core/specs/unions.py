"""The closed sets of the spec: every union of kinds, and the models that it holds."""

from functools import cache
from typing import Any, Final, get_args

from core.specs.augment.kinds import Augmentation
from core.specs.base import Spec
from core.specs.data import Data, Order
from core.specs.functions import Function, UniformStart
from core.specs.generators import Generator
from core.specs.job import (
    Budget,
    CheckpointEvery,
    GradientClip,
    JobSpec,
    OnDivergence,
    PostedJob,
    Problem,
    Record,
    StartFrom,
    Stop,
)
from core.specs.layers.kinds import Layer
from core.specs.losses import EvaluationMetric, Loss
from core.specs.models import Initializer, Model, Norm
from core.specs.optimizers.kinds import Optimizer
from core.specs.optimizers.wrappers import ParameterGroup, Wrapper
from core.specs.schedules import Schedule
from core.specs.splits.kinds import Split
from core.specs.study import (
    Metric,
    PostedStudy,
    Strategy,
    StudySpec,
    SuccessiveHalving,
    SweepIntegers,
    SweepLinear,
    SweepLog,
    SweepValues,
)
from core.specs.tokenizers import Tokenizer
from core.specs.webhooks.fields import JobWebhook

UNIONS: Final[dict[str, Any]] = {
    "problem": Problem,
    "data": Data,
    "generator": Generator,
    "order": Order,
    "split": Split,
    "augment": Augmentation,
    "tokenizer": Tokenizer,
    "model": Model,
    "layers": Layer,
    "shortcut": Layer,
    "branches": Layer,
    "norm": Norm,
    "init": Initializer,
    "loss": Loss,
    "metrics": EvaluationMetric,
    "function": Function,
    "optimizer": Optimizer,
    "wrap": Wrapper,
    "schedule": Schedule,
    "then": Schedule,
    "schedules": Schedule,
    "gradient_clip": GradientClip,
    "on_divergence": OnDivergence,
    "strategy": Strategy,
}
"""Unions of kinds, by the name of the field that takes one of them."""

PLAIN: Final[dict[str, type[Spec]]] = {
    "budget": Budget,
    "stop": Stop,
    "record": Record,
    "checkpoint": CheckpointEvery,
    "start_from": StartFrom,
    "groups": ParameterGroup,
    "start": UniformStart,
    "metric": Metric,
    "stopper": SuccessiveHalving,
    "webhook": JobWebhook,  # a study's has the same fields
}
"""Fields that take one model, by name."""

NOUNS: Final[dict[type[Spec], str]] = {
    JobSpec: "a job",
    PostedJob: "a job",
    StudySpec: "a study",
    PostedStudy: "a study",
}
"""The noun for a body, by the model that it is validated as."""

SWEEP: Final = "~sweep"
"""Stands for the name of a field that is a path of a sweep."""

SWEEPS: Final[dict[str, type[Spec]]] = {
    "values": SweepValues,
    "log": SweepLog,
    "linear": SweepLinear,
    "integers": SweepIntegers,
}
"""The forms of a sweep, by their main field."""


@cache
def members(field: str) -> dict[str, type[Spec]]:
    """Return the models that a field of `UNIONS` takes, by kind, in the order of the catalogue."""
    return {kind_of(model, tag_of(field)): model for model in _models(UNIONS[field])}


def tag_of(field: str) -> str:
    """Return the name of the field that tells the choices of `field` apart."""
    return "action" if field == "on_divergence" else "kind"


def kind_of(model: type[Spec], tag: str = "kind") -> str:
    """Return the model's `kind`, or the value of its tag."""
    (kind,) = get_args(model.model_fields[tag].annotation)
    return str(kind)


def _models(annotation: Any) -> list[type[Spec]]:
    if isinstance(annotation, type):
        return [annotation] if issubclass(annotation, Spec) else []
    return [model for part in get_args(annotation) for model in _models(part)]
