"""Splits part the rows: every row in one part, sizes as they were announced, classes in proportion;
held against scikit-learn's own folds and splits."""

from fractions import Fraction
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.model_selection import KFold, StratifiedKFold, train_test_split

from core.specs.splits.kinds import ColumnSplit, FoldsSplit, FractionSplit, TailSplit
from core.specs.splits.rows import (
    EVAL,
    PARTS,
    TEST,
    TRAIN,
    Codes,
    PartRows,
    assign,
    cannot_stratify,
    column_rows,
    part_rows,
    quotas,
)

Drawn = FractionSplit | TailSplit | FoldsSplit
SHARES: Final = st.sampled_from([0.0, 0.1, 0.2, 0.25, 1 / 3, 0.45])


def fraction(held_out: float, test: float = 0.0, *, stratify: bool = False) -> FractionSplit:
    return FractionSplit(kind="fraction", eval=held_out, test=test, stratify=stratify)


def folds(num: int, fold: int, *, stratify: bool = False) -> FoldsSplit:
    return FoldsSplit(kind="folds", num=num, fold=fold, stratify=stratify)


def drawn(num_rows: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).permutation(num_rows)


def sizes_of(codes: Codes) -> PartRows:
    return PartRows(*np.bincount(codes, minlength=len(PARTS)).tolist())


@pytest.mark.parametrize(
    ("held_out", "rows", "expected"),
    [
        (0.2, 1797, (1438, 359, 0)),
        (0.29, 100, (71, 29, 0)),  # 0.29 * 100 is 28.999999999999996
        (0.2, 2, (2, 0, 0)),
        (0.0, 10, (10, 0, 0)),
        (0.9, 2, (0, 2, 0)),
    ],
)
def test_shares_are_rounded_to_whole_rows(
    held_out: float, rows: int, expected: tuple[int, int, int]
) -> None:
    assert part_rows(fraction(held_out), rows) == expected


splits = st.one_of(
    st.builds(fraction, SHARES, SHARES),
    st.builds(
        lambda held_out, test: TailSplit(kind="tail", eval=held_out, test=test), SHARES, SHARES
    ),
    st.integers(2, 9).flatmap(lambda num: st.builds(folds, st.just(num), st.integers(0, num - 1))),
)


@settings(deadline=None, max_examples=150, derandomize=True)
@given(split=splits, num_rows=st.integers(9, 400), seed=st.integers(0, 9))
def test_every_row_is_in_one_part_of_the_announced_size(
    split: Drawn, num_rows: int, seed: int
) -> None:
    order = None if isinstance(split, TailSplit) else drawn(num_rows, seed)
    codes = assign(split, num_rows, order, None)
    assert len(codes) == num_rows
    assert sizes_of(codes) == part_rows(split, num_rows)
    assert (codes == assign(split, num_rows, order, None)).all()


@settings(deadline=None, max_examples=150, derandomize=True)
@given(
    counts=st.lists(st.integers(3, 40), min_size=1, max_size=12),
    held_out=SHARES,
    test=SHARES,
    seed=st.integers(0, 9),
)
def test_a_stratified_draw_is_within_one_row_of_every_class(
    counts: list[int], held_out: float, test: float, seed: int
) -> None:
    split, num_rows = fraction(held_out, test, stratify=True), sum(counts)
    ids = np.repeat(np.arange(len(counts)), counts)[drawn(num_rows, seed + 100)]
    codes = assign(split, num_rows, drawn(num_rows, seed), ids)
    sizes = part_rows(split, num_rows)
    assert sizes_of(codes) == sizes
    for number, count in enumerate(counts):
        of_class = sizes_of(codes[ids == number])
        for part, size in zip(of_class, sizes, strict=True):
            assert abs(part - Fraction(count * size, num_rows)) < 1


@settings(deadline=None, max_examples=300, derandomize=True)
@given(data=st.data(), counts=st.lists(st.integers(0, 30), min_size=1, max_size=9))
def test_quotas_keep_the_sums_of_classes_and_parts(data: st.DataObject, counts: list[int]) -> None:
    whole = sum(counts)
    if whole == 0:
        return
    held_out = data.draw(st.integers(0, whole))
    tested = data.draw(st.integers(0, whole - held_out))
    sizes = PartRows(whole - held_out - tested, held_out, tested)
    found = quotas(counts, sizes)
    assert found.sum(axis=0).tolist() == list(sizes)
    assert found.sum(axis=1).tolist() == counts
    for row, count in zip(found.tolist(), counts, strict=True):
        for number, size in zip(row, sizes, strict=True):
            assert abs(number - Fraction(count * size, whole)) < 1


def test_the_last_cycle_of_fractions_is_rounded_too() -> None:
    # One row of each class and one of each part: three fractions of a third in every line.
    assert quotas([1, 1, 1], PartRows(1, 1, 1)).sum(axis=0).tolist() == [1, 1, 1]
    # Rows (1/2, 1/2, 0), (0, 1/2, 1/2), (1/2, 0, 1/2) of a table are such a cycle of three.
    from core.specs.splits.rows import _close

    left = [[1, 1, 0], [0, 1, 1], [1, 0, 1]]
    _close(left, 2)
    assert sorted(map(sum, left)) == [2, 2, 2]
    assert [sum(column) for column in zip(*left, strict=True)] == [2, 2, 2]
    assert {number for row in left for number in row} == {0, 2}


@pytest.mark.parametrize("num", [2, 3, 5, 7])
@pytest.mark.parametrize("counts", [[50, 50, 50], [178, 182, 177, 8], [31, 7]])
def test_folds_have_the_sizes_of_scikit_learns(num: int, counts: list[int]) -> None:
    num_rows = sum(counts)
    ids = np.repeat(np.arange(len(counts)), counts)
    order = drawn(num_rows, 4)
    plain = [assign(folds(num, k), num_rows, order, None) for k in range(num)]
    theirs = [len(held) for _, held in KFold(num).split(ids)]
    assert [int((codes == EVAL).sum()) for codes in plain] == theirs
    assert (np.stack([codes == EVAL for codes in plain]).sum(axis=0) == 1).all()

    ours = [assign(folds(num, k, stratify=True), num_rows, order, ids) for k in range(num)]
    assert (np.stack([codes == EVAL for codes in ours]).sum(axis=0) == 1).all()
    by_class = np.array([np.bincount(ids[codes == EVAL], minlength=len(counts)) for codes in ours])
    found = StratifiedKFold(num).split(ids, ids)
    of_theirs = np.array([np.bincount(ids[held], minlength=len(counts)) for _, held in found])
    assert by_class.sum(axis=1).tolist() == of_theirs.sum(axis=1).tolist()
    assert by_class.tolist() == of_theirs.tolist()


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_a_stratified_draw_is_as_near_as_scikit_learns(share: float) -> None:
    counts = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    ids = np.repeat(np.arange(10), counts)
    codes = assign(fraction(share, stratify=True), len(ids), drawn(len(ids), 1), ids)
    _, theirs = train_test_split(ids, test_size=int((codes == EVAL).sum()), stratify=ids)
    ours = np.bincount(ids[codes == EVAL], minlength=10)
    assert np.abs(ours - np.bincount(theirs, minlength=10)).max() <= 1


def test_the_tail_keeps_the_order_and_has_the_test_last() -> None:
    codes = assign(TailSplit(kind="tail", eval=0.2, test=0.3), 10, None, None)
    assert codes.tolist() == [TRAIN] * 5 + [EVAL] * 2 + [TEST] * 3


@pytest.mark.parametrize(
    ("split", "counts", "words"),
    [
        (fraction(0.5, stratify=True), [9, 1], "class b has 1 row, and there are 2 parts"),
        (fraction(0.2, 0.2, stratify=True), [20, 2], "has 2 rows, and there are 3 parts"),
        (fraction(0.1, stratify=True), [5, 5], "1 rows for eval cannot hold all 2 classes"),
        (folds(3, 0, stratify=True), [9, 1], "class b has one row"),
        (folds(6, 0, stratify=True), [5, 5], "fewer folds"),
    ],
)
def test_classes_that_cannot_be_spread_are_named(split: Any, counts: list[int], words: str) -> None:
    reason = cannot_stratify(split, counts, ["a", "b"])
    assert reason is not None
    assert words in reason


@pytest.mark.parametrize("split", [fraction(0.0, stratify=True), fraction(0.5), folds(2, 1)])
def test_classes_that_can_be_spread_are_not(split: Any) -> None:
    assert cannot_stratify(split, [9, 0, 2], ["a", "b", "c"]) is None


def test_a_column_tells_true_from_one() -> None:
    split = ColumnSplit(kind="column", name="fold", eval=(1,), test=(True,))
    assert column_rows(split, [False, True], [5, 3, 2]) == (7, 0, 3)
    assert column_rows(split, [0, 1], [5, 3, 2]) == (7, 3, 0)
