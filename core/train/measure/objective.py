"""The loss of a whole problem, in float64, as a function of its weights: what curvature is of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from core.specs.direction import sign_of_job
from core.specs.formulas.values import dimension
from core.specs.job import DataProblem, FunctionProblem, JobSpec, OfData
from core.train.data.build import build_data
from core.train.losses import LossFunction, TokenLoss, settled_loss, twice_differentiable
from core.train.models.layered import LayeredModel
from core.train.problems.build import build_problem
from core.train.problems.functions import build_function, start_point, variable_names
from core.train.problems.model import model_of
from core.train.state import StateCopy, result_weights

MAX_WORK: Final = 2**26
"""Parameters × rows of one pass: more rows than this allows are thinned evenly (at least 256 are
kept), so that a Hessian-vector product stays near a tenth of a second on one core."""
LEAST_ROWS: Final = 256


@dataclass(frozen=True)
class Model:
    """A supervised problem's model and rows."""

    module: LayeredModel
    features: Tensor
    targets: Tensor
    loss: LossFunction


@dataclass(frozen=True)
class Objective:
    """A twice differentiable loss at a point.

    Attributes:
        names, parameters: in the training problem's order (as an optimizer's state counts them).
        evaluate: the loss at the parameters' present values; with `rows`, of these training rows.
        rows, all_rows: rows that the loss is a mean over, and how many there are (functions: 1).
        model: None for functions.
    """

    names: tuple[str, ...]
    parameters: list[nn.Parameter]
    evaluate: Callable[[Tensor | None], Tensor]
    rows: int
    all_rows: int
    model: Model | None

    @property
    def dim(self) -> int:
        return sum(p.numel() for p in self.parameters)

    def loss(self) -> float:
        with torch.no_grad():
            return float(self.evaluate(None).item())

    def gradient(self, rows: Tensor | None = None) -> Tensor:
        """Return the gradient as one vector."""
        found = torch.autograd.grad(
            self.evaluate(rows), self.parameters, allow_unused=True, materialize_grads=True
        )
        return flat(found).detach()

    def shift(self, by: Tensor) -> None:
        """Add a vector to the parameters, in place."""
        offset = 0
        with torch.no_grad():
            for p in self.parameters:
                p.add_(by[offset : offset + p.numel()].view_as(p))
                offset += p.numel()

    def loss_at(self, offset: Tensor) -> float:
        """Return the loss at a displaced point; the parameters come back to the last bit."""
        kept = [p.detach().clone() for p in self.parameters]
        self.shift(offset)
        try:
            return self.loss()
        finally:
            with torch.no_grad():
                for p, before in zip(self.parameters, kept, strict=True):
                    p.copy_(before)


def flat(tensors: tuple[Tensor, ...] | list[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def build_objective(
    spec: JobSpec, weights: Mapping[str, Tensor] | None, device: torch.device
) -> Objective:
    """Return the objective at `weights` (by the problem's names; None: the run's initial ones)."""
    sign = sign_of_job(spec)
    if isinstance(spec.problem, DataProblem):
        return _supervised(spec.problem, weights, spec.seed, device, sign)
    return _function(spec.problem, weights, spec.seed, device, sign)


def weights_at(spec: JobSpec, moment: StateCopy, device: str) -> Mapping[str, Tensor]:
    """Return the weights that results are of at a moment of the run."""
    dtype = torch.float64 if spec.precision == "float64" else torch.float32
    where = torch.device(device)
    return result_weights(spec, lambda: build_problem(spec, where, dtype), moment)


def _supervised(
    problem: OfData,
    weights: Mapping[str, Tensor] | None,
    seed: int,
    device: torch.device,
    sign: float,
) -> Objective:
    assert problem.loss is not None
    data = build_data(problem, device, torch.float64)
    module = model_of(problem, seed=seed, device=device, dtype=torch.float64)
    if weights is not None:
        module.load_state_dict(dict(weights))
    # The weights' loss: batch norm as in training, but no units left out.
    module.leave_nothing_out()
    module.train()
    total = len(data.train_features)
    size = sum(p.numel() for p in module.parameters())
    kept = min(total, max(LEAST_ROWS, MAX_WORK // size))
    features, targets = data.train_features, data.train_targets
    if kept < total:
        index = torch.linspace(0, total - 1, kept, dtype=torch.float64).round().long().to(device)
        features, targets = features[index], targets[index]
    settled = settled_loss(problem.loss, data.train_targets, data.num_outputs)
    loss = twice_differentiable(settled)
    if data.num_tokens is not None:
        loss = TokenLoss(loss)

    def evaluate(rows: Tensor | None) -> Tensor:
        some, wanted = (features, targets) if rows is None else (features[rows], targets[rows])
        return sign * loss(module.forward(some), wanted)

    names, parameters = zip(*module.named_parameters(), strict=True)
    model = Model(module, features, targets, loss)
    return Objective(tuple(names), list(parameters), evaluate, kept, total, model)


def _function(
    problem: FunctionProblem,
    weights: Mapping[str, Tensor] | None,
    seed: int,
    device: torch.device,
    sign: float,
) -> Objective:
    assert problem.start is not None
    function = build_function(problem.function, device, torch.float64)
    if weights is None:
        names = variable_names(problem.function)
        x = start_point(problem.start, dimension(problem.function), names, seed)
    else:
        x = weights["x"].detach().clone()
    point = nn.Parameter(x.to(torch.float64).to(device))
    return Objective(("x",), [point], lambda rows: sign * function(point), 1, 1, None)
