"""Arguments and options that several commands take."""

from pathlib import Path
from typing import Annotated

import typer

JobId = Annotated[
    str, typer.Argument(metavar="JOB", help="The job's id, or `last` for the newest.")
]
StudyId = Annotated[
    str, typer.Argument(metavar="STUDY", help="The study's id, or `last` for the newest.")
]
WorkId = Annotated[str, typer.Argument(metavar="JOB", help="A job, `last`, or a study.")]
Wait = Annotated[bool, typer.Option("--watch", "-w", help="Follow it to its end.")]
Timeout = Annotated[
    float | None, typer.Option(help="Seconds to wait; then the status is 5, and it goes on.")
]
Sets = Annotated[
    list[str],
    typer.Option("--set", "-s", metavar="PATH=VALUE", help="Change a field: optimizer.lr=0.01."),
]
SpecFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="A spec in YAML or JSON; - reads standard input.")
]
Labels = Annotated[
    list[str],
    typer.Option("--label", "-l", metavar="KEY:VALUE", help="Only those with this label."),
]
Statuses = Annotated[list[str], typer.Option("--status", help="Only those with this status.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="The most entries.")]
Checkpoint = Annotated[
    str, typer.Option(help="final, best, initial, or another that the job has kept.")
]
