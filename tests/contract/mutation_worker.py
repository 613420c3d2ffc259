"""A process that inspects one path after another and says how each ended; it may hang or die, its parent may not."""

from __future__ import annotations

import resource
import sys
import warnings

from typer.testing import CliRunner

from cristae.cli.main import app


def main() -> None:
    warnings.simplefilter("ignore")
    runner = CliRunner()
    for line in sys.stdin:
        result = runner.invoke(app, ["inspect", line.rstrip("\n")])
        crash = result.exception is not None and not isinstance(result.exception, SystemExit)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        said = repr(result.exception) if crash else result.stderr.replace("\n", " ")[:300]
        print(result.exit_code, peak, said, sep="\t", flush=True)


if __name__ == "__main__":
    main()
