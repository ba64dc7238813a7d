"""The order of the times in a column of dates: facts that the check of a file finds."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Times:
    """Facts about the steps from one row's time to the next one's, in the order of the rows; rows
    without a time are passed over, and all rows are counted from 0.

    Attributes:
        num_steps: that there are.
        usual_s: the median of those that go on in time, to a twentieth; 0 without any.
        num_back, first_back: steps to an earlier time; the row that the first one leads to.
        num_same, first_same: steps to the same time; as above.
        num_uneven, first_uneven: steps that are more than half again as long as those that are
            usual, or shorter by as much. Usual are the median and any length that a tenth of the
            steps have (of weekdays one and three days).
        uneven_s: the length of the first one; 0 without any.
    """

    num_steps: int
    usual_s: float
    num_back: int
    first_back: int | None
    num_same: int
    first_same: int | None
    num_uneven: int
    first_uneven: int | None
    uneven_s: float
