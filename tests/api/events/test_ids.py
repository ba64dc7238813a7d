"""Ids of events: they are read as they were written, and no others are."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.events.ids import (
    LogPlace,
    Place,
    RowPlace,
    check_of,
    frame,
    log_place_in,
    place_in,
)
from core.errors import InvalidInputError

CHECK = check_of("job_1", "train")
NUMBERS = st.integers(0, 10**14)
ROWS = st.builds(RowPlace, NUMBERS, st.integers(0, 999))
MARKS = st.one_of(st.just(""), st.integers(1, 2**32 - 1).map("{:08x}".format))
NAME = "job_0123456789abcdefghjkmnpqrs"


@given(st.builds(Place, NUMBERS, ROWS, MARKS, st.integers(0, 10_000), st.booleans()))
def test_a_place_is_read_as_it_was_written(place: Place) -> None:
    assert place_in(place.id(CHECK), CHECK) == place
    with pytest.raises(InvalidInputError, match="Last-Event-ID"):
        place_in(place.id(CHECK), check_of("job_2", "train"))


@given(NUMBERS, st.sampled_from([None, "", NAME]), st.lists(ROWS, max_size=100))
def test_a_place_in_the_log_too(number: int, present: str | None, rows: list[RowPlace]) -> None:
    place = LogPlace(number, present, tuple(rows))
    assert log_place_in(place.id(CHECK), CHECK, len(rows)) == place
    with pytest.raises(InvalidInputError):
        log_place_in(place.id(CHECK), CHECK, len(rows) + 1)


@given(st.text(max_size=40))
def test_what_is_no_id_is_refused_with_the_way_out(text: str) -> None:
    for read in (lambda: place_in(text, CHECK), lambda: log_place_in(text, CHECK, 0)):
        with pytest.raises(InvalidInputError, match="leave it out") as refused:
            read()
        assert [each.param for each in refused.value.errors] == ["Last-Event-ID"]


@pytest.mark.parametrize(
    ("seen", "rewinds", "place"),
    [
        (RowPlace(9, 0), (), RowPlace(9, 0)),
        (RowPlace(9, 0), (4,), RowPlace(4, 1)),
        (RowPlace(9, 0), (12,), RowPlace(9, 1)),  # it had not seen what was taken back
        (RowPlace(9, 0), (8, 3, 6), RowPlace(3, 3)),
        (RowPlace(9, 1), (4,), RowPlace(9, 1)),  # and had seen the others already
        (RowPlace(9, 1), (4, 7), RowPlace(7, 2)),
        (RowPlace(9, 2), (4,), None),  # a resumed attempt stands before what was seen
    ],
)
def test_a_reader_goes_back_as_its_run_does(
    seen: RowPlace, rewinds: tuple[int, ...], place: RowPlace | None
) -> None:
    assert seen.after(rewinds) == place


@given(st.lists(st.sampled_from("abcd"), min_size=2, max_size=4, unique=True))
def test_streams_have_checks_of_their_own(words: list[str]) -> None:
    checks = [check_of(*words[:count]) for count in range(1, len(words) + 1)]
    assert all(one != other for one, other in pairwise(checks))


def test_a_frame_is_what_the_standard_says() -> None:
    assert frame("end", "v1", b'{"a":1}') == b'id: v1\nevent: end\ndata: {"a":1}\n\n'
