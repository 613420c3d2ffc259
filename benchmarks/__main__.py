"""Run every benchmark: `python -m benchmarks`."""

from __future__ import annotations

import subprocess
import sys

NAMES = (
    "feed",
    "labels",
    "prediction",
    "prediction_workers",
    "backends",
    "billion",
    "rivals",
    "networks",
    "surfaces",
    "v_scores",
    "evaluation",
    "uncertainty",
    "organelle_estimates",
    "augmentation",
    "grain",
    "grey_values",
    "validation",
    "synthetic",
    "cluster",
    "features",
    "benchmark_page",
)


def main() -> int:
    """Each in a process of its own, so that one's memory does not count in another's."""
    codes = [subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode for name in NAMES]
    return max(codes)


if __name__ == "__main__":
    raise SystemExit(main())
