"""The curve in the terminal shows the ends, the spikes and the gaps."""

import math

from thalweg.curves import curve


def column(lines: list[str], number: int) -> str:
    return "".join(line.partition("┤")[2][number] for line in lines)


def test_a_line_that_falls_goes_from_the_top_left_to_the_bottom_right() -> None:
    lines = curve([100.0 - step for step in range(101)], width=10, height=4)
    assert len(lines) == 4
    assert lines[0].startswith("100 ┤")
    assert lines[-1].startswith("  0 ┤")
    assert column(lines, 0)[0] != "⠀"
    assert column(lines, 9)[3] != "⠀"
    assert column(lines, 0)[3] == "⠀"
    assert column(lines, 9)[0] == "⠀"


def test_a_single_spike_among_thousands_is_seen() -> None:
    values = [1.0] * 5000
    values[2500] = 10.0
    assert any(mark != "⠀" for mark in curve(values, width=20, height=4)[0].partition("┤")[2])


def test_values_that_are_not_finite_leave_a_gap() -> None:
    values = [1.0] * 50 + [math.nan] * 50
    lines = curve(values, width=10, height=2)
    assert all(column(lines, number) == "⠀⠀" for number in range(5, 10))
    assert curve([math.nan, math.inf]) == ["(no finite values)"]


def test_a_constant_and_a_single_value_are_drawn() -> None:
    assert len(curve([3.0, 3.0, 3.0], height=5)) == 5
    assert len(curve([0.0], height=5)) == 5


def test_a_fall_over_decades_is_drawn_on_a_logarithmic_axis() -> None:
    lines = curve([10.0**-step for step in range(9)], width=9, height=9)
    assert column(lines, 4)[4] != "⠀"
