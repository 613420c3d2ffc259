"""A process that inspects one path after another and says how each ended; it may hang or die, its parent may not."""

from __future__ import annotations

import re
import sys
import warnings
from pathlib import Path

from typer.testing import CliRunner

from cristae.cli.main import app

PEAK = re.compile(r"VmHWM:\s*(\d+) kB")
"""Not the peak of getrusage, which begins with the memory of the process that started this one."""


def main() -> None:
    warnings.simplefilter("ignore")
    runner = CliRunner()
    for line in sys.stdin:
        result = runner.invoke(app, ["inspect", line.rstrip("\n")])
        crash = result.exception is not None and not isinstance(result.exception, SystemExit)
        peak = next(iter(PEAK.findall(Path("/proc/self/status").read_text())))
        said = repr(result.exception) if crash else result.stderr.replace("\n", " ")[:300]
        print(result.exit_code, int(peak) // 1024, said, sep="\t", flush=True)


if __name__ == "__main__":
    main()
