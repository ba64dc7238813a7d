"""`python -m worker`: one worker (see `thalweg worker --help`); `--check live` or `--check ready`:
is one here?"""

import sys

from thalweg_service.packages import foreign

if __name__ == "__main__":
    if (whose := foreign()) is not None:
        sys.exit(f"thalweg worker: {whose}")
    match sys.argv[1:]:
        case ["--check", "live" | "ready" as kind]:
            from worker.health import check

            check(kind)
        case _:
            from worker.app import main

            main()
