"""Where the command `cristae` begins: from here on, Ctrl-C ends in one line, also while libraries are imported."""

import sys

from cristae.cli.interrupted import was_interrupted


def run() -> None:
    """The entry point of the command."""
    try:
        from cristae.cli.main import run as work

        work()
    except (Exception, KeyboardInterrupt) as error:
        if not was_interrupted(error):
            raise
        print("interrupted", file=sys.stderr)
        sys.exit(130)
