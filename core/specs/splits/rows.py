"""Rows of each part of a split: how many there are, and which they are. Pure arithmetic: the
permutation that it begins with is drawn elsewhere."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any, Final, Literal, NamedTuple, assert_never

import numpy as np
from numpy.typing import NDArray

from core.specs.splits.kinds import ColumnSplit, FoldsSplit, FractionSplit, TailSplit

Part = Literal["train", "eval", "test"]
HeldOut = Literal["eval", "test"]
PARTS: Final[tuple[Part, ...]] = ("train", "eval", "test")
TRAIN, EVAL, TEST = range(3)
"""Codes of the parts."""

Codes = NDArray[np.int8]
"""The part that each row belongs to."""


class PartRows(NamedTuple):
    """Numbers of rows of the parts."""

    train: int
    eval: int
    test: int


def part_rows(split: FractionSplit | TailSplit | FoldsSplit, num_rows: int) -> PartRows:
    """Return the rows of each part. Shares are rounded to whole rows (half to even); where they
    round up to more than there are, none is left for training (or fewer than none)."""
    match split:
        case FractionSplit() | TailSplit():
            held_out, tested = round(num_rows * split.eval), round(num_rows * split.test)
            return PartRows(num_rows - held_out - tested, held_out, tested)
        case FoldsSplit():
            held_out = len(range(split.fold, num_rows, split.num))
            return PartRows(num_rows - held_out, held_out, 0)
        case _:
            assert_never(split)


def assign(
    split: FractionSplit | TailSplit | FoldsSplit,
    num_rows: int,
    drawn: NDArray[np.int64] | None,
    ids: NDArray[Any] | None,
) -> Codes:
    """Return the part of each row.

    Args:
        drawn: a permutation of the rows; None where nothing is drawn (`tail`).
        ids: each row's class, from 0 on, where the split is stratified.
    """
    codes = np.full(num_rows, TRAIN, dtype=np.int8)
    sizes = part_rows(split, num_rows)
    if isinstance(split, TailSplit):
        codes[sizes.train :] = EVAL
        codes[num_rows - sizes.test :] = TEST
        return codes
    assert drawn is not None
    if split.stratify:
        assert ids is not None
        # The rows of a class one after another, each class in the order drawn.
        drawn = drawn[np.argsort(ids[drawn], kind="stable")]
    if isinstance(split, FoldsSplit):
        codes[drawn[split.fold :: split.num]] = EVAL
        return codes
    if ids is None or not split.stratify:
        codes[drawn[: sizes.eval]] = EVAL
        codes[drawn[sizes.eval : sizes.eval + sizes.test]] = TEST
        return codes
    counts = np.bincount(ids)
    quota = quotas(counts.tolist(), sizes)
    classes = ids[drawn]
    place = np.arange(num_rows) - (np.cumsum(counts) - counts)[classes]
    evaluated, held_out = quota[:, EVAL][classes], quota[:, EVAL:].sum(axis=1)[classes]
    codes[drawn[place < held_out]] = TEST
    codes[drawn[place < evaluated]] = EVAL
    return codes


def quotas(class_counts: Sequence[int], sizes: PartRows) -> NDArray[np.int64]:
    """Share out each class's rows among the parts (classes x parts), so that both the classes' and
    the parts' sizes come out and no number is one or more away from its exact share.

    Such a rounding of a table with whole sums always exists (Bacharach 1966); it is found by moving
    fractions round cycles of the table, which keeps all sums, until none is left.
    """
    whole = sum(class_counts)
    floors = [[count * size // whole for size in sizes] for count in class_counts]
    # Numerators of what is left, over `whole`: exact.
    left = [[count * size % whole for size in sizes] for count in class_counts]
    for one, other in combinations(range(len(PARTS)), 2):
        waiting: list[int] | None = None
        for row in left:
            if not (0 < row[one] < whole and 0 < row[other] < whole):
                continue
            if waiting is not None:
                moved = min(whole - waiting[one], waiting[other], row[one], whole - row[other])
                waiting[one] += moved
                waiting[other] -= moved
                row[one] -= moved
                row[other] += moved
                if 0 < waiting[one] < whole and 0 < waiting[other] < whole:
                    continue
                still = 0 < row[one] < whole and 0 < row[other] < whole
                waiting = row if still else None
            else:
                waiting = row
    _close(left, whole)
    rounded_up = np.array(left, dtype=np.int64) == whole
    found: NDArray[np.int64] = np.array(floors, dtype=np.int64) + rounded_up
    return found


def _close(left: list[list[int]], whole: int) -> None:
    """Round the fractions of the one cycle that may be left: three rows with two fractions each."""
    rest = [row for row in left if any(0 < number < whole for number in row)]
    if not rest:
        return
    up = next(part for part, number in enumerate(rest[0]) if 0 < number < whole)
    while rest:
        row = next(row for row in rest if 0 < row[up] < whole)
        rest = [each for each in rest if each is not row]
        (down,) = [part for part, n in enumerate(row) if 0 < n < whole and part != up]
        row[up], row[down] = whole, 0
        up = down


def cannot_stratify(
    split: FractionSplit | FoldsSplit, counts: Sequence[int], names: Sequence[str]
) -> str | None:
    """Say why these classes cannot be in every part alike, and the way out; None: they can.

    Args:
        counts: rows of each class. names: of the classes, as they are shown.
    """
    present = [(count, name) for count, name in zip(counts, names, strict=True) if count]
    num_rows = sum(counts)
    least, rarest = min(present)
    way_out = "leave stratify out, or leave out the classes with so few rows"
    if isinstance(split, FoldsSplit):
        most = max(present)[0]
        if least < 2:
            return f"class {rarest} has one row, which is in one fold and in no other: {way_out}"
        if split.num > most:
            return (
                f"no class has as many rows as there are folds ({split.num:,}; the largest has"
                f" {most:,}): give fewer folds, or leave stratify out"
            )
        return None
    sizes = [each for each in zip(PARTS, part_rows(split, num_rows), strict=True) if each[1]]
    if len(sizes) > 1 and least < len(sizes):
        rows = "1 row" if least == 1 else f"{least} rows"
        return (
            f"class {rarest} has {rows}, and there are {len(sizes)} parts"
            f" ({', '.join(name for name, _ in sizes)}): {way_out}"
        )
    for name, size in sizes:
        if size < len(present):
            return (
                f"the {size:,} rows for {name} cannot hold all {len(present):,} classes: give"
                f" {name} a larger share, or leave stratify out"
            )
    return None


def column_rows(split: ColumnSplit, cells: Sequence[object], counts: Sequence[int]) -> PartRows:
    """Return the rows of each part; `cells`: the column's values with how many rows have each, and
    last, without a value, the others."""
    of = dict(zip(map(cell_key, cells), counts, strict=False))
    held_out = sum(of.get(cell_key(cell), 0) for cell in split.eval)
    tested = sum(of.get(cell_key(cell), 0) for cell in split.test)
    return PartRows(sum(counts) - held_out - tested, held_out, tested)


def cell_key(cell: object) -> tuple[str, object]:
    """Return a key that tells `true` from 1, which Python does not."""
    return type(cell).__name__, cell
