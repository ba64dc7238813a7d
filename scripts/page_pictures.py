"""Take the pictures of the page that stand in README and docs: `python scripts/page_pictures.py`.

A service of its own gets the jobs and the study that are shown; the system's Chromium opens each
view and takes a picture of it, which is stored with at most 256 colours. Names of views as
arguments take those pictures only. Look at them afterwards.
"""

import io
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.e2e.browser import browsing, missing  # noqa: E402
from tests.e2e.client import Service, serving  # noqa: E402

PICTURES: Final = ROOT / "docs" / "pictures"
WIDTH: Final = 1_200
COLOURS: Final = 256
SETTLED_MS: Final = 2_000
"""Time until all parts of a view have come: the list keeps a stream open, and is never idle."""

Json = dict[str, Any]


def digits(*hidden: int) -> Json:
    """Return the problem of the digits for a perceptron."""
    model = {"kind": "mlp", "hidden": list(hidden)}
    return {"kind": "supervised", "data": {"kind": "builtin", "name": "digits"}, "model": model}


def function(start: list[float], **fields: Any) -> Json:
    """Return the problem of a function."""
    return {"kind": "function", "function": fields, "start": start}


def sgd(lr: float, **more: Any) -> Json:
    """Return the optimizer."""
    return {"kind": "sgd", "lr": lr, **more}


VALLEY: Final = function([3.0, 2.0], kind="quadratic", eigenvalues=[1, 30])
NET: Final = digits(64)
RATES: Final = (0.003, 0.03, 0.3)
SHOWN: Final[tuple[Json, ...]] = (
    {"problem": VALLEY, "optimizer": sgd(0.001), "max_steps": 300},
    {"problem": function([-1.8, 1.0], kind="three_hump_camel"), "optimizer": sgd(0.05),
     "max_steps": 300},
    {"problem": digits(32, 32, 32, 32) | {"model": {
        "kind": "mlp", "hidden": [32, 32, 32, 32], "activation": "sigmoid"}},
     "optimizer": sgd(0.1), "max_steps": 500},
    {"problem": {"kind": "supervised", "data": {"kind": "builtin", "name": "breast_cancer"},
                 "model": {"kind": "mlp", "hidden": [32]}},
     "optimizer": sgd(0.05), "max_steps": 800},
    {"problem": NET, "optimizer": {"kind": "adam", "lr": 0.001}, "max_steps": 1_000,
     "name": "digits with Adam"},
    *({"problem": NET, "optimizer": sgd(lr), "max_steps": 600, "name": f"rate {lr}"}
      for lr in RATES),
)  # fmt: skip
DIVERGED: Final[Json] = {
    "problem": function([1.0, 1.0], kind="quadratic", eigenvalues=[1, 100]),
    "optimizer": sgd(0.03), "max_steps": 500, "name": "too large a rate",
}  # fmt: skip
OSCILLATES: Final[Json] = {
    "problem": VALLEY, "optimizer": sgd(0.0665), "max_steps": 300, "name": "wall to wall",
}  # fmt: skip
STUDY: Final[Json] = {
    "name": "rates for digits",
    "base": {"problem": NET, "optimizer": sgd(0.1), "budget": {"max_steps": 150}},
    "sweep": {"optimizer.lr": {"log": [1e-4, 100.0], "count": 13}}, "repeats": 3,
    "metric": {"name": "loss", "at": "final"},
}  # fmt: skip


MAP: Final[Json] = {
    "name": "rate by momentum",
    "base": {"problem": function([3.0, 2.0], kind="quadratic", eigenvalues=[1, 10]),
             "optimizer": sgd(0.1), "budget": {"max_steps": 200}},
    "sweep": {"optimizer.lr": {"log": [0.01, 1.0], "count": 17},
              "optimizer.momentum": {"linear": [0, 0.96], "count": 9}},
    "metric": {"name": "loss", "at": "final"},
}  # fmt: skip


def run(service: Service, job: Json) -> str:
    """Have a job run to its end; return its id."""
    spec = {name: value for name, value in job.items() if name != "max_steps"}
    return str(service.run({**spec, "budget": {"max_steps": job["max_steps"]}})["id"])


class View(NamedTuple):
    """A view: its address, what is to be there before the picture is taken, its height, and the
    button that is pressed first."""

    path: Callable[[Service], str]
    awaited: str
    height: int
    button: str | None = None


def _list(service: Service) -> str:
    for job in SHOWN:
        run(service, job)
    return "/jobs"


def _remedied(service: Service) -> str:
    """Give a job that tries a remedy."""
    parent = run(service, OSCILLATES)
    reply = service.http.post(f"/v1/jobs/{parent}/remedies/0/apply")
    child = reply.raise_for_status().json()["id"]
    service.http.get(f"/v1/jobs/{child}", params={"wait": 60}).raise_for_status()
    return f"/jobs/{child}"


def _compared(service: Service) -> str:
    net = {"problem": NET, "max_steps": 600}
    ids = [run(service, {**net, "name": f"rate {lr}", "optimizer": sgd(lr)}) for lr in RATES]
    return f"/compare?job={'&job='.join(ids)}&baseline={ids[0]}"


def _studied(service: Service, body: Json) -> str:
    study = service.http.post("/v1/studies", json=body).raise_for_status().json()["id"]
    path = f"/v1/studies/{study}"
    while service.http.get(path, params={"wait": 30}).json()["finished_at"] is None:
        pass
    return f"/studies/{study}"


CURVE: Final = ".chart-canvas canvas"
VIEWS: Final = {
    "jobs": View(_list, "tbody tr:nth-child(6) canvas, tbody tr:nth-child(6) svg", 640),
    "job": View(_remedied, CURVE, 760),
    "diverged": View(lambda service: f"/jobs/{run(service, DIVERGED)}", CURVE, 700),
    "compare": View(_compared, CURVE, 860),
    "study": View(lambda service: _studied(service, STUDY), "main svg, main canvas", 860),
    "map": View(lambda service: _studied(service, MAP), ".map-edge", 860),
    "play": View(lambda _: "/play?f=himmelblau", ".play-end", 1_330, button="Race"),
}


def take(browser: Browser, service: Service, view: View) -> bytes:
    """Take a picture: PNG."""
    path = view.path(service)
    size: Any = {"width": WIDTH, "height": view.height}
    context = browser.new_context(
        base_url=str(service.http.base_url).rstrip("/"), viewport=size, locale="en-GB"
    )
    page: Page = context.new_page()
    page.goto(path)
    if view.button is not None:
        page.get_by_role("button", name=view.button, exact=True).click()
    page.locator(view.awaited).first.wait_for()
    page.wait_for_timeout(SETTLED_MS)
    found = page.screenshot()
    context.close()
    return found


def smaller(picture: bytes) -> bytes:
    """Store a picture with its most frequent colours; pixels of another take the nearest one."""
    with Image.open(io.BytesIO(picture)) as file:
        pixels = np.asarray(file.convert("RGB"))
    colours, which, numbers = np.unique(
        pixels.reshape(-1, 3), axis=0, return_inverse=True, return_counts=True
    )
    frequent = colours[np.argsort(-numbers, kind="stable")[:COLOURS]]
    away = ((colours[:, None].astype(int) - frequent) ** 2).sum(axis=2)
    nearest = away.argmin(axis=1).astype(np.uint8)
    few = Image.fromarray(nearest[which.reshape(pixels.shape[:2])], "P")
    few.putpalette(frequent.tobytes())
    with io.BytesIO() as stored:
        few.save(stored, "PNG", optimize=True)
        return stored.getvalue()


def main(names: list[str]) -> int:
    """Take the pictures; return the exit status."""
    unknown = set(names) - VIEWS.keys()
    if unknown:
        print(f"no view: {', '.join(sorted(unknown))}; one of {', '.join(VIEWS)}", file=sys.stderr)
        return 2
    if missing:
        print(f"needs {', '.join(missing)}", file=sys.stderr)
        return 1
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder)) as service,
        browsing() as browser,
    ):
        for name in names or VIEWS:
            picture = smaller(take(browser, service, VIEWS[name]))
            (PICTURES / f"page_{name}.png").write_bytes(picture)
            print(f"page_{name}.png: {len(picture):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
