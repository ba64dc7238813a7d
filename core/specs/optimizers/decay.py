"""Share of the weights that their decay takes off at an update."""

from core.specs.optimizers.kinds import (
    ASGD,
    LBFGS,
    SGD,
    Adafactor,
    Muon,
    Optimizer,
    Prodigy,
    Rprop,
    ScheduleFreeSGD,
)


def decay_is_share(optimizer: Optimizer) -> bool:
    """Tell whether decay takes lr·`weight_decay` times each weight off it at an update.

    So it is where decay is decoupled, or added to a gradient that a step follows as it is. Methods
    that divide the gradient by its size divide the decay with it; Prodigy's decay is of a rate that
    it finds itself.
    """
    match optimizer:
        case Muon() | Adafactor() | ASGD() | ScheduleFreeSGD():
            return True
        case SGD():
            return optimizer.decoupled_weight_decay or not optimizer.cautious
        case Rprop() | LBFGS() | Prodigy():
            return False
        case _:
            return optimizer.decoupled_weight_decay
