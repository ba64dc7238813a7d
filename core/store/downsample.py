"""Which rows a downsampled view of a history shows."""

import numpy as np
from numpy.typing import NDArray


def select_rows(loss: NDArray[np.float64], num_rows: int) -> NDArray[np.int64]:
    """Row numbers, ascending: every row whose loss is not finite, and at most `num_rows` ≥ 1 more.

    `loss`: (rows,). The finite rows are cut into equal stretches, of which each shows its lowest
    and its highest; with the first and the last row. So from 4 rows on, the curve's extremes are
    kept. 1 gives the last finite row, 2 the first as well, 3 the lowest as well.
    """
    finite = np.isfinite(loss)
    if np.count_nonzero(finite) <= num_rows:
        return np.arange(len(loss))
    if not finite.all():
        rows = np.flatnonzero(finite)
        shown: NDArray[np.int64] = rows[select_rows(loss[rows], num_rows)]
        return np.union1d(shown, np.flatnonzero(~finite))
    ends = np.array([0, len(loss) - 1])
    match num_rows:
        case 1:
            chosen = ends[1:]
        case 2:
            chosen = ends
        case 3:
            chosen = np.append(ends, loss.argmin())
        case _:
            chosen = np.concatenate([ends, _extremes(loss, (num_rows - 2) // 2)])
    return np.unique(chosen)


def _extremes(values: NDArray[np.float64], num_stretches: int) -> NDArray[np.int64]:
    """Where the lowest and the highest value of each of `num_stretches` stretches stand."""
    stretch = -(-len(values) // num_stretches)
    whole = len(values) // stretch
    table = values[: whole * stretch].reshape(whole, stretch)
    starts = np.arange(whole) * stretch
    found = [starts + table.argmin(axis=1), starts + table.argmax(axis=1)]
    if (rest := values[whole * stretch :]).size:
        found.append(whole * stretch + np.array([rest.argmin(), rest.argmax()]))
    return np.concatenate(found)
