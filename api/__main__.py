"""`python -m api`: serve the API with the settings of the environment."""

import gc
import os
import sys

from thalweg_service.packages import foreign


def main() -> int:
    """Serve; return 0 after an orderly end, 2 with one line on stderr where it cannot start."""
    if (whose := foreign()) is not None:
        sys.stderr.write(f"thalweg api: {whose}\n")
        return 2
    # What is imported stays, and a collection would look at all of it again and again: there is
    # none until `run` has it out of its sight.
    gc.disable()
    from pydantic import ValidationError

    from api.server import CannotServeError, run
    from core.settings import Settings, setting_mistakes, unknown_variables

    for each in unknown_variables(os.environ):
        sys.stderr.write(f"thalweg api: {each}\n")
    try:
        run(Settings())
    except ValidationError as error:
        sys.stderr.write(f"thalweg api: {setting_mistakes(error)}\n")
        return 2
    except CannotServeError as error:
        sys.stderr.write(f"thalweg api: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
