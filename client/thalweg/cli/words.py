"""The words of a command line, looked at before they are parsed: an option without its value, with
an empty one, or given twice.

The parser takes whatever follows an option for its value, another option too, and of an option that
is given twice the last.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple


class _Given(NamedTuple):
    """An option as it was typed.

    Attributes:
        value: None where it takes none, or nothing follows.
        follows: the value is the next word, and not attached by `=`.
    """

    name: str
    option: Any
    value: str | None
    follows: bool


def check(command: Any, context: Any, words: Sequence[str], *, leads: bool = False) -> None:
    """Refuse words of a command that its parser would take for something else (status 2).

    Args:
        leads: the command leads to others, whose words begin with the first that is no option.
    """
    options = {
        name: each
        for each in command.get_params(context)
        for name in (*each.opts, *each.secondary_opts)
        if name.startswith("-")
    }
    commands = set(command.list_commands(context)) if leads else set()
    seen: dict[str, str] = {}
    for name, option, value, follows in _given(options, words, leads=leads):
        before = seen.get(option.name)
        seen[option.name] = name
        if option.is_flag:
            if before is not None and (before in option.opts) != (name in option.opts):
                context.fail(f"Options {before!r} and {name!r} exclude each other: give one.")
            continue
        if value is None:
            return  # the parser says so
        is_option = value.partition("=")[0] in options
        if follows and (is_option or value in commands):
            context.fail(
                f"Option {name!r} requires an argument, and {value!r}, which follows, is"
                f" {'an option itself' if is_option else 'a command'} (if it is meant:"
                f" {_attached(name, value)})."
            )
        if not value and option.default != "":
            context.fail(f"Option {name!r} is empty: give it a value, or leave it out.")
        if before is not None and not option.multiple:
            context.fail(f"Option {name!r} is given twice: give it once.")


def depth(command: Any, context: Any, words: Sequence[str]) -> tuple[int, Any]:
    """Return how many of the words lead to a command below this one, and that command."""
    at = 0
    while at < len(words) and hasattr(command, "commands"):
        below = command.get_command(context, words[at])
        if below is None:
            break
        command, at = below, at + 1
    return at, command


def _attached(name: str, value: str) -> str:
    return f"{name}={value}" if name.startswith("--") else f"{name}{value}"


def _given(options: dict[str, Any], words: Sequence[str], *, leads: bool) -> Iterator[_Given]:
    """Yield the options among the words, as the parser finds them."""
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            return
        if not word.startswith("-") or word == "-":
            if leads:
                return
            continue
        name, attached, value = word.partition("=")
        if name in options:
            yield _one(name, options[name], value if attached else None, rest)
        elif not word.startswith("--"):
            yield from _short(options, word, rest)


def _short(options: dict[str, Any], word: str, rest: list[str]) -> Iterator[_Given]:
    """Yield the options of one letter that a word puts together: flags, then one with its value."""
    for at, letter in enumerate(word[1:], start=2):
        option = options.get(f"-{letter}")
        if option is None:
            return
        yield _one(f"-{letter}", option, word[at:] or None, rest)
        if not option.is_flag:
            return


def _one(name: str, option: Any, value: str | None, rest: list[str]) -> _Given:
    if option.is_flag:
        return _Given(name, option, None, follows=False)
    if value is not None or not rest:
        return _Given(name, option, value, follows=False)
    return _Given(name, option, rest.pop(0), follows=True)
