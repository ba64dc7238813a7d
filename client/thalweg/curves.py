"""A curve in a terminal."""

import math
from collections.abc import Sequence
from typing import Final

_BLANK: Final = 0x2800
# Unicode's order of the dots of a braille character: bit of the dot in row r, column c.
_DOTS: Final = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


def curve(values: Sequence[float], *, width: int = 64, height: int = 10) -> list[str]:
    """Draw `values` over their index in a terminal: braille characters, eight dots each.

    Returns `height` lines of `width` characters behind the axis's labels.

    The value axis is logarithmic where all values are positive and span more than a factor of 20.
    Values that are not finite leave a gap. Each column of dots shows the range of its values, so
    that no spike is lost.
    """
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ["(no finite values)"]
    low, high = min(finite), max(finite)
    logarithmic = low > 0 and high / low > 20
    scale = math.log if logarithmic else float
    bottom, span = scale(low), (scale(high) - scale(low)) or 1.0
    columns, rows = 2 * width, 4 * height
    grid = [[0] * width for _ in range(height)]
    for column in range(columns):
        start = column * len(values) // columns
        end = max(start + 1, (column + 1) * len(values) // columns)
        dots = [
            round((rows - 1) * (1 - (scale(value) - bottom) / span))
            for value in values[start:end]
            if math.isfinite(value)
        ]
        for dot in range(min(dots), max(dots) + 1) if dots else ():
            grid[dot // 4][column // 2] |= _DOTS[dot % 4][column % 2]
    labels = {0: f"{high:.3g}", height - 1: f"{low:.3g}"}
    margin = max(map(len, labels.values()))
    return [
        f"{labels.get(number, ''):>{margin}} ┤{''.join(chr(_BLANK + bits) for bits in row)}"
        for number, row in enumerate(grid)
    ]
