"""The images and the compose file on a real engine: `make containers`.

Builds both images, runs the whole service as a project of its own, and ends with status 0 when what
docs/containers.md promises holds; each line is a promise with its figure. It leaves no container,
volume or network behind. It needs the command `docker` with compose and an engine; how to have one
on a machine without: scripts/engine.sh.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.containers import promises
from tests.containers.engine import API, WORKER, Images, running


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.containers", description=__doc__)
    parser.add_argument("--base", default="python:3.12-slim-bookworm", help="PYTHON_IMAGE")
    parser.add_argument("--torch-index", default="", help="TORCH_INDEX")
    parser.add_argument("--builder", default="", help="address of an engine that builds")
    parser.add_argument("--no-build", action="store_true", help="run what was built before")
    given = parser.parse_args(arguments)
    images = Images(given.base, given.torch_index, given.builder)
    with tempfile.TemporaryDirectory(prefix="thalweg-containers-") as name:
        folder = Path(name)
        if not given.no_build:
            promises.images_are_built(images)
            promises.a_line_makes_one_layer(images, folder)
        images.load(API, WORKER)
        promises.images_hold_what_they_should(images)
        (folder / "stack").mkdir()
        with running(folder / "stack") as stack:
            promises.it_serves(stack)
            promises.it_carries_the_page(stack)
            promises.settings_reach_it(stack)
            promises.it_is_fenced_in(stack)
            promises.a_stopped_worker_hands_over(stack)
            promises.an_outage_is_trained_through(stack)
            promises.a_backup_is_restored(stack, folder)
            promises.a_folder_of_root_is_refused(stack, folder)
            promises.a_gpu_that_is_not_there_is_refused(stack)
            promises.a_memory_limit_is_named(stack)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
