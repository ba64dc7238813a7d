"""A whole worker process whose trainer needs no torch. Started by tests as a program."""

import sys
from pathlib import Path

from worker.app import main

if __name__ == "__main__":
    main((sys.executable, "-P", str(Path(__file__).with_name("fake_trainer.py"))))
