"""Several workers under one supervisor whose trainers need no torch. Started by tests as a program:
`fake_node.py DEVICE ...` with `FAKE_GPUS` (`tests.worker.fake_trainer`)."""

import sys
from pathlib import Path

from thalweg_service.node import Node

if __name__ == "__main__":

    def tell(text: str) -> None:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    program = str(Path(__file__).with_name("fake_worker.py"))
    command = (sys.executable, "-P", program)
    node = Node(sys.argv[1:], "node", tell=tell, command=command, apart_s=0.1)
    sys.exit(node.run())
