"""`python -m worker`: one worker (see `thalweg worker --help`); `--check`: is one alive here?"""

import sys

if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        from worker.health import check

        check()
    else:
        from worker.app import main

        main()
