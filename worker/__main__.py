"""`python -m worker`: one worker (see `thalweg worker --help`); `--check`: is one alive here?"""

import sys

from thalweg_service.packages import foreign

if __name__ == "__main__":
    if (whose := foreign()) is not None:
        sys.exit(f"thalweg worker: {whose}")
    if sys.argv[1:] == ["--check"]:
        from worker.health import check

        check()
    else:
        from worker.app import main

        main()
