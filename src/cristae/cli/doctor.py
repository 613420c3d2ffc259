"""The verb `doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from cristae.cli.options import Json, print_json
from cristae.cli.recipes import RecipePath, Set

if TYPE_CHECKING:
    from cristae.data.finding import Finding

_COLORS = {"error": "red", "warning": "yellow", "unknown": "cyan", "fine": "green"}


def doctor(path: RecipePath, changes: Set = None, as_json: Json = False) -> None:
    """Find what makes a training worthless; forecast its time.

    Each finding comes with what to do. Exit code 2 where training would be meaningless.
    """
    from cristae.cli.progress import console_progress
    from cristae.workflows.doctor import doctor as look

    found = look(path, changes or (), progress=console_progress())
    if as_json:
        print_json(found.to_dict())
    else:
        for finding in found.findings:
            _print(finding)
        print(found.summary)
    if found.meaningless:
        raise typer.Exit(2)


def _print(finding: Finding) -> None:
    """What was found in a line or two, then what to do."""
    head = f"{finding.severity}: {finding.what}"
    typer.secho(head, fg=_COLORS[finding.severity], nl=False)
    typer.echo(str(finding).removeprefix(head))
