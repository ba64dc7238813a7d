"""Of every option of every command: a value that was forgotten, is empty, or was given twice, is
told in words, with the status of a mistaken command line, before anything is done."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from thalweg.cli.app import app

GROUP: Any = get_command(app)


class Place(NamedTuple):
    """A command, by the words that lead to it."""

    words: tuple[str, ...]
    command: Any


def places(command: Any = GROUP, words: tuple[str, ...] = ()) -> Iterator[Place]:
    yield Place(words, command)
    if hasattr(command, "commands"):
        for name in command.list_commands(None):
            yield from places(command.get_command(None, name), (*words, name))


PLACES = list(places())
OPTIONS: list[tuple[Place, Any, str]] = [
    (place, option, name)
    for place in PLACES
    for option in place.command.params
    for name in option.opts
    if name.startswith("-") and not option.is_flag
]
WITH_VALUE = [pytest.param(*each, id=" ".join([*each[0].words, each[2]])) for each in OPTIONS]
ONCE = [case for each, case in zip(OPTIONS, WITH_VALUE, strict=True) if not each[1].multiple]
TAKES_EMPTY = {"--root-path"}


MISTAKEN = typer.BadParameter.__base__


def refused(*words: str) -> str:
    """The message of a command line that is mistaken."""
    assert MISTAKEN is not None
    with pytest.raises(MISTAKEN) as caught:
        GROUP.main(args=list(words), prog_name="thalweg", standalone_mode=False)
    error: Any = caught.value
    assert error.exit_code == 2
    message: str = error.format_message()
    return message


def test_all_commands_are_looked_at() -> None:
    found = {place.words for place in PLACES}
    assert {(), ("submit",), ("data", "upload"), ("doctor",), ("keys", "create")} < found
    assert len(WITH_VALUE) > 150


@pytest.mark.parametrize(("place", "option", "name"), WITH_VALUE)
def test_a_value_that_was_forgotten(place: Place, option: Any, name: str) -> None:
    assert f"Option '{name}' requires an argument" in refused(*place.words, name)
    flags = [each.opts[0] for each in place.command.params if getattr(each, "is_flag", False)]
    for other in (*flags, "--help", option.opts[0], f"{option.opts[0]}=x"):
        said = refused(*place.words, name, other)
        assert f"Option '{name}' requires an argument, and '{other}', which follows, is an" in said


@pytest.mark.parametrize(("place", "option", "name"), WITH_VALUE)
def test_a_value_that_is_empty(place: Place, option: Any, name: str) -> None:
    if name in TAKES_EMPTY:
        assert option.default == ""
        return
    said = f"Option '{name}' is empty: give it a value, or leave it out."
    assert said in refused(*place.words, name, "")
    if name.startswith("--"):
        assert said in refused(*place.words, f"{name}=")


@pytest.mark.parametrize(("place", "option", "name"), ONCE)
def test_a_value_that_is_given_twice(place: Place, option: Any, name: str) -> None:
    for first in option.opts:
        words = (*place.words, first, "1", name, "2")
        assert f"Option '{name}' is given twice: give it once." in refused(*words)


@pytest.mark.parametrize("words", [["doctor"], ["keys", "list"], ["settings"]], ids=" ".join)
def test_a_value_that_was_forgotten_behind_options_of_the_whole(words: list[str]) -> None:
    for option in get_options(words):
        said = refused("--json", *words, option)
        assert f"Option '{option}' requires an argument" in said


def get_options(words: list[str]) -> list[str]:
    (place,) = [each for each in PLACES if list(each.words) == words]
    return [p.opts[0] for p in place.command.params if p.opts[0][0] == "-" and not p.is_flag]


def test_what_excludes_each_other_and_a_command_in_the_place_of_a_value() -> None:
    assert "'--live' and '--ready' exclude each other" in refused(
        "health", "api", "--live", "--ready"
    )
    assert "exclude each other" in refused("doctor", "--no-jobs", "--jobs")
    assert "'--url' requires an argument, and 'jobs', which follows, is a command" in refused(
        "--url", "jobs"
    )


def test_it_is_said_on_standard_error_with_the_usage_of_the_command() -> None:
    done = CliRunner().invoke(app, ["--json", "keys", "create", "--owner", ""])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "Usage: thalweg keys create" in done.stderr
    assert "'--owner' is empty" in done.stderr


def test_what_is_nearest_counts_and_what_may_be_repeated_is_not_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("thalweg.cli.session.RETRY_FOR_S", 0.0)
    words = ["--url", "http://127.0.0.1:1", "jobs", "--url", "http://127.0.0.1:2"]
    unreachable = CliRunner().invoke(
        app, [*words, "--status", "failed", "--status", "queued", "-n5"]
    )
    assert unreachable.exit_code != 2
    assert ":2" in str(unreachable.exception)
    examined: list[str] = []
    monkeypatch.setattr(
        "thalweg_service.doctor.examine.main", lambda url, *_, **__: examined.append(url)
    )
    words[2] = "doctor"
    assert CliRunner().invoke(app, words).exit_code == 0
    assert CliRunner().invoke(app, words[:3]).exit_code == 0
    assert examined == ["http://127.0.0.1:2", "http://127.0.0.1:1"]
