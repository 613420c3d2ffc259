"""Where the command `cristae` begins: from here on, Ctrl-C ends in one line, also while libraries are imported."""

import sys


def was_interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C lies behind an error: a library that was being imported may turn it into one of its own."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


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
