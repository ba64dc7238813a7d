"""Groups of parameters with a weight decay, a rate and a beginning of their own."""

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn

from core.specs.optimizers.kinds import Optimizer
from core.train.optim.build import build_optimizer

SHARED: Final = ("momentum", "betas")
"""Options beside the rate that a schedule may move."""


class Groups:
    """The parameter groups of one run.

    Attributes:
        leader: an optimizer of nothing, whose rate and momentum the schedule moves; the groups'
            follow it.
    """

    def __init__(
        self, spec: Optimizer, optimizer: torch.optim.Optimizer, names: Mapping[str, nn.Parameter]
    ) -> None:
        """Take the optimizer apart, which has all parameters in one group and no state yet; `names`
        holds its parameters by name, in order."""
        bare = spec.model_copy(update={"groups": (), "wrap": ()})
        self.leader = build_optimizer(bare, [nn.Parameter(torch.zeros(()))])
        self._optimizer = optimizer
        self._updates = 0
        (whole,) = optimizer.param_groups
        taken = [name for group in spec.groups for name in group.parameters]
        rest = [each for name, each in names.items() if name not in taken]
        self._scales = [1.0]
        optimizer.param_groups[:] = [_group(whole, rest)]
        self._frozen: list[tuple[int, list[nn.Parameter]]] = []
        for group in spec.groups:
            members = [names[name] for name in group.parameters]
            own = _group(whole, members)
            if group.weight_decay is not None:
                own["weight_decay"] = group.weight_decay
            optimizer.param_groups.append(own)
            self._scales.append(group.lr_scale)
            if group.frozen_steps:
                self._frozen.append((group.frozen_steps, members))
        self._freeze()

    def share(self) -> None:
        """Give every group its rate of the next update, and the momentum."""
        found = self.leader.param_groups[0]
        shared: dict[str, Any] = {name: found[name] for name in SHARED if name in found}
        for group, scale in zip(self._optimizer.param_groups, self._scales, strict=True):
            group.update(shared, lr=found["lr"] * scale)

    def after_update(self) -> bool:
        """Count an update; tells whether parameters begin to move with the next."""
        self._updates += 1
        self._freeze()
        return any(steps == self._updates for steps, _ in self._frozen)

    def state(self) -> dict[str, Any]:
        return {"updates": self._updates}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken."""
        self._updates = state["updates"]
        self._freeze()

    def _freeze(self) -> None:
        """Have those that do not move yet no gradient: no norm, no clipping and no state knows
        them."""
        for steps, members in self._frozen:
            for parameter in members:
                parameter.requires_grad_(self._updates >= steps)


def _group(whole: Mapping[str, Any], members: list[nn.Parameter]) -> dict[str, Any]:
    """Return a group with the options of `whole` and what it counts, in objects of its own."""
    own: dict[str, Any] = {
        name: dict(value) if isinstance(value, dict) else value for name, value in whole.items()
    }
    return own | {"params": members}


def names_of(parameters: list[nn.Parameter], weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the parameters by the names of the weights whose storage they are."""
    names = {weight.data_ptr(): name for name, weight in weights.items()}
    return {names[parameter.data_ptr()]: parameter for parameter in parameters}
