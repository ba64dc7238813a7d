"""Examples of the client's docstrings and of the docs, run against a service."""

import ast
import asyncio
import contextlib
import doctest
import importlib
import inspect
import io
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest

from thalweg import AsyncClient, Client

ROOT: Final = Path(__file__).resolve().parents[2]
OPTIONS: Final = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
MODULES: Final = sorted(
    ".".join(path.relative_to(ROOT / "client").with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "client" / "thalweg").rglob("*.py")
    if path.stem != "specs"
)
PAGES: Final = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("docs/*.md"), *ROOT.glob("*.md"))
    if "```pycon" in path.read_text()
)
SPEC: Final[Any] = {
    "problem": {"kind": "function", "function": {"kind": "rosenbrock"}},
    "optimizer": {"kind": "adam", "lr": 0.05},
    "budget": {"max_steps": 200},
}


IRIS: Final[Any] = {
    "problem": {
        "kind": "supervised",
        "data": {"kind": "builtin", "name": "iris"},
        "model": {"kind": "linear"},
    },
    "optimizer": {"kind": "adam", "lr": 0.2},
    "batch_size": "full",
    "budget": {"max_steps": 100},
}


def documented(module: ModuleType) -> Iterator[tuple[str, str]]:
    """Every docstring of a module with an example."""
    for name, member in [(module.__name__, module), *inspect.getmembers(module)]:
        if getattr(member, "__module__", module.__name__) != module.__name__:
            continue
        members = [(name, member), *vars(member).items()] if inspect.isclass(member) else []
        for inner, each in members or [(name, member)]:
            text = getattr(each, "__doc__", None) or ""
            if ">>>" in text:
                yield f"{name}.{inner}", text


EXAMPLES: Final = [
    (module, place, text)
    for module in MODULES
    for place, text in documented(importlib.import_module(module))
]


def run(text: str, place: str, names: dict[str, Any], loop: asyncio.Runner) -> None:
    """Run examples in order, as Python's prompt would, `await` too; compare what is printed."""
    checker = doctest.OutputChecker()
    for example in doctest.DocTestParser().get_examples(text):
        printed = io.StringIO()
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        code = compile(example.source, place, "single", flags=flags)
        with contextlib.redirect_stdout(printed):
            if code.co_flags & inspect.CO_COROUTINE:
                loop.run(eval(code, names))  # noqa: S307
            else:
                exec(code, names)  # noqa: S102
        got = printed.getvalue()
        said = f"{place}: {example.source}expected {example.want!r}, got {got!r}"
        assert checker.check_output(example.want, got, OPTIONS), said


@pytest.mark.parametrize(
    ("module", "place", "text"), EXAMPLES, ids=[f"{m}-{p}" for m, p, _ in EXAMPLES]
)
def test_an_example_of_a_docstring_is_true(
    module: str, place: str, text: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THALWEG_URL", address)
    with asyncio.Runner() as loop, Client() as client:
        waiting = AsyncClient()
        is_waiting = "_async" in module
        names: dict[str, Any] = {"client": waiting if is_waiting else client}
        if re.search(r"\bjob\b", text):
            done = client.jobs.create(SPEC).wait(60)
            names["job"] = loop.run(waiting.jobs.get(done.id)) if is_waiting else done
        if "trained" in text:
            iris = client.jobs.create(IRIS).wait(60)
            names["trained"] = loop.run(waiting.jobs.get(iris.id)) if is_waiting else iris
        run(text, place, names, loop)
        loop.run(waiting.aclose())
        if isinstance(names["client"], Client):
            names["client"].close()


def test_there_are_examples_of_both_clients() -> None:
    counted = [module.split(".")[1] for module, _, _ in EXAMPLES if "." in module]
    assert counted.count("_async") == counted.count("_sync") >= 6
    assert "history" in counted


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_a_page_are_true(
    page: str, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of `pycon`, in order, in one interpreter."""
    monkeypatch.setenv("THALWEG_URL", address)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(
        r"^```pycon\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE
    )
    names: dict[str, Any] = {}
    with asyncio.Runner() as loop:
        run("\n".join(blocks), page, names, loop)
    names["client"].close()
