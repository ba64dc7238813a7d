"""`python -m worker`: one worker (see `thalweg worker --help`); `--check live` or `--check ready`:
is one here?"""

import contextlib
import gc
import os
import sys
from itertools import pairwise

from thalweg_service.packages import foreign

if __name__ == "__main__":
    if (whose := foreign()) is not None:
        sys.exit(f"thalweg worker: {whose}")
    match sys.argv[1:]:
        case ["--check", "live" | "ready" as kind]:
            from worker.health import check

            check(kind)
        case arguments:
            from core.environment.gpus import missing_gpu
            from core.environment.priority import trainer_nice
            from worker.trainer.process import start_trainer

            begun = None
            device = next((b for a, b in pairwise(arguments) if a == "--device"), "auto")
            if not {"-h", "--help"} & set(arguments) and missing_gpu(device) is None:
                with contextlib.suppress(OSError):  # said when it is tried again
                    begun = start_trainer(device=device, nice=trainer_nice(os.environ))
            # What is imported stays, and a collection would look at all of it again and again:
            # there is none until `_work` has it out of its sight.
            gc.disable()
            # Imported while the trainer imports torch.
            from worker.app import main

            main(begun=begun)
