"""The whitelist parser of expressions. Values are held against Python's own evaluation."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.specs.formulas.parser import MAX_DEPTH, MAX_NODES, parse
from core.specs.formulas.tokens import ARITY, FUNCTIONS, InvalidExpressionError
from core.specs.formulas.tree import Apply, Number, Variable, postorder, variables
from core.specs.formulas.values import OPERATIONS, evaluate

few = settings(max_examples=150, deadline=None, derandomize=True, database=None)


def value(text: str, **values: float) -> float:
    return evaluate(parse(text), values)


def refused(text: str) -> str:
    with pytest.raises(InvalidExpressionError) as caught:
        parse(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.1*x1**2 + 2*x2**2", 0.1 * 25 + 2 * 4),
        ("-x1**2", -25.0),
        ("2**-x2", 4.0),
        ("2**3**2", 512.0),
        ("(2**3)**2", 64.0),
        ("8 - 4 - 2", 2.0),
        ("8 / 4 / 2", 1.0),
        ("2 + 3 * 4", 14.0),
        ("--x1", -5.0),
        ("+x1 - +x2", -3.0),
        ("2*-x1", 10.0),
        ("1e3 + .5 + 2.", 1002.5),
        ("pi + e + tau", math.pi + math.e + math.tau),
        ("pow(x1, 2)", 25.0),
        ("min(3, 1, 2) + max(3, 1, 2)", 4.0),
        ("where(x1 < 0, 1, 2)", 1.0),
        ("where(not x1 < 0 or x1 == -5 and x2 != 3, 1, 2)", 1.0),
        ("where(-6 < x1 <= -5, 1, 2)", 1.0),
        ("where(-6 < x1 < -5, 1, 2)", 2.0),
        ("where(x1 >= 0, 1, where(x2 > 0, 2, 3))", 3.0),
        ("where((x1 < 0), 1, 2)", 1.0),
        ("hypot(3, 4) + atan2(0, 1)", 5.0),
        ("relu(x1) + relu(2)", 2.0),
        ("sigmoid(0) + softplus(0)", 0.5 + math.log(2)),
        ("sigmoid(-1000) + softplus(1000)", 1000.0),
        ("erf(0.5)", math.erf(0.5)),
        ("  x1\n +\tx2 ", -7.0),
    ],
)
def test_an_expression_has_the_value_of_ordinary_mathematics(text: str, expected: float) -> None:
    assert value(text, x1=-5.0, x2=-2.0) == pytest.approx(expected, rel=1e-15)


def _python_names() -> dict[str, Any]:
    plain = {name: getattr(math, name) for name in FUNCTIONS if hasattr(math, name)}
    own = {"abs": abs, "min": min, "max": max, "sign": lambda x: math.copysign(1, x) if x else 0}
    sigmoid = {"sigmoid": lambda x: 1 / (1 + math.exp(-x))}
    return {**plain, **own, **sigmoid, "pi": math.pi}


leaves = st.sampled_from(["x1", "x2", "pi", "0.5", "2", "1.25", "3e-1"])
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["+", "-", "*", "/", "**"]), inner, inner).map(
            lambda t: f"{t[1]} {t[0]} {t[2]}"
        ),
        inner.map(lambda t: f"({t})"),
        inner.map(lambda t: f"-{t}"),
        st.tuples(
            st.sampled_from(["sin", "cos", "tanh", "atan", "abs", "sign", "sigmoid", "expm1"]),
            inner,
        ).map(lambda t: f"{t[0]}({t[1]})"),
        st.tuples(st.sampled_from(["min", "max", "atan2", "hypot"]), inner, inner).map(
            lambda t: f"{t[0]}({t[1]}, {t[2]})"
        ),
    ),
    max_leaves=12,
)


@few
@given(trees)
def test_any_expression_agrees_with_python(text: str) -> None:
    values = {"x1": 1.5, "x2": 0.75}
    try:
        expected = eval(text, {"__builtins__": {}}, {**_python_names(), **values})  # noqa: S307
    except (OverflowError, ZeroDivisionError, ValueError):
        return
    if isinstance(expected, complex):
        assert math.isnan(value(text, **values))
    else:
        assert value(text, **values) == pytest.approx(float(expected), rel=1e-9, abs=1e-300)


@few
@given(st.text(alphabet="x1e.+-*/()<>=,^ whersincoando\"'[]_:λ", max_size=40))
def test_any_text_is_either_parsed_or_refused_with_a_position_inside_it(text: str) -> None:
    position = 0
    try:
        parse(text)
    except InvalidExpressionError as error:
        position = error.position
    assert 0 <= position <= len(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("x^2", "write `**`"),
        ("x.real", "attribute access"),
        ("().__class__", "attribute access"),
        ("__import__('os')", "not a listed function"),
        ("open(x)", "not a listed function"),
        ("add(x, 1)", "not a listed function"),
        ("x[0]", "subscripts"),
        ("'a'", "strings"),
        ("lambda x: x", "reserved word"),
        ("x if x else 1", "unexpected"),
        ("(x := 2)", "not an operator"),
        ("x = 2", "=="),
        ("[x]", "subscripts"),
        ("{1: 2}", "braces"),
        ("x // 2", "not an operator"),
        ("x % 2", "not an operator"),
        ("x @ 2", "not allowed"),
        ("2x", "write `*`"),
        ("x y", "write `*`"),
        ("0x10", "write `*`"),
        ("1_000", "write `*`"),
        ("sin", "arguments in parentheses"),
        ("sin()", "takes 1 argument"),
        ("sin(x, x)", "takes 1 argument"),
        ("min(x)", "two arguments or more"),
        ("where(x, 1, 2)", "condition is needed"),
        ("x < 1", "condition stands"),
        ("sin(x < 1)", "condition stands"),
        ("where(x < 1, x < 2, 3)", "condition stands"),
        ("(x", "`)` was expected"),
        ("x)", "unexpected"),
        ("x +", "the end is unexpected"),
        ("1e400", "too large"),
        ("_x", "cannot name a variable"),
        ("x" * 65, "cannot name a variable"),
        ("λ", "not allowed"),
        ("x\u00a0+1", "not allowed"),
    ],
)
def test_what_is_not_in_the_grammar_is_refused_with_the_reason(text: str, reason: str) -> None:
    assert reason in refused(text)


def test_the_position_of_the_fault_is_given() -> None:
    with pytest.raises(InvalidExpressionError, match=r"at character 5") as caught:
        parse("x + ^")
    assert caught.value.position == 4


@pytest.mark.parametrize("opening", ["(", "-", "sin(", "2**", "where(x<1,", "not "])
def test_a_hundred_thousand_nested_brackets_neither_crash_nor_recurse(opening: str) -> None:
    assert "characters" in refused(opening * 100_000)
    assert "nested deeper" in refused(opening * (MAX_DEPTH + 1) + "x")


def test_nesting_up_to_the_limit_is_parsed() -> None:
    depth = MAX_DEPTH - 1
    assert value("(" * depth + "x" + ")" * depth, x=3.0) == 3.0


def test_a_long_sum_is_no_deep_nesting() -> None:
    text = "+".join(["x"] * 2_000)
    assert value(text, x=1.0) == 2_000.0


def test_the_number_of_nodes_is_limited() -> None:
    assert f"{MAX_NODES:,}" in refused("+".join(["x"] * (MAX_NODES // 2 + 2)))


def test_a_power_tower_is_computed_in_float64_not_in_big_integers() -> None:
    assert value("9**9**9") == math.inf


def test_a_number_of_ten_thousand_digits_is_refused() -> None:
    assert "at most 100" in refused("9" * 10_000)
    assert "at most 100" in refused("1" * 500 + "*x")


@pytest.mark.parametrize(
    "text", ["1/x", "log(x)", "x**-1", "sqrt(x - 1)", "exp(1000) + x", "asin(x+2)"]
)
def test_what_is_undefined_at_a_point_gives_a_non_finite_value_there(text: str) -> None:
    assert not math.isfinite(value(text, x=0.0))


def test_variables_are_named_once_in_natural_order() -> None:
    assert variables(parse("x10*x2 + x1 + beta*x2")) == ("beta", "x1", "x2", "x10")


def test_the_tree_is_immutable_and_walked_arguments_first() -> None:
    tree = parse("2*x")
    assert isinstance(tree, Apply)
    assert [type(node) for node in postorder(tree)] == [Number, Variable, Apply]
    with pytest.raises(AttributeError):
        tree.operation = "add"  # type: ignore[misc]


def test_every_operation_has_a_numpy_function() -> None:
    assert set(OPERATIONS) == set(ARITY)
