"""How long does the page of a benchmark take to build and to open, and how large is it?

14 methods (one of them imported) x 6 folds x 4 slices of 512 x 512 voxels, made without training. Goals: built in
under 30 s, under 15 MB, open in a browser in under 2 s. The browser is Chromium where playwright finds it. Beside the
seconds of the build are those that its processor was busy, and the load of the machine: where that is above the number
of cores, other programs were slowing it down.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.example_benchmark import Size, write_example
from benchmarks.machine import write_result

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_TRIES = 5


def main() -> None:
    """Measure, print and keep."""
    size = Size()
    figures: dict[str, Any] = {"methods": size.cells, "folds": size.folds, "slices_of_a_fold": size.slices}
    with tempfile.TemporaryDirectory() as name:
        folder = write_example(Path(name) / "example", size)
        figures["load"] = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
        begun, busy = time.monotonic(), _busy_seconds()
        subprocess.run([sys.executable, "-m", "cristae", "report", str(folder)], check=True, stdout=subprocess.DEVNULL)
        figures["build_seconds"] = round(time.monotonic() - begun, 2)
        figures["build_cpu_seconds"] = round(_busy_seconds() - busy, 2)
        page = folder / "report.html"
        figures["page_mb"] = round(page.stat().st_size / 1e6, 2)
        figures["open_seconds"] = opened(page)
    print(figures)
    write_result("benchmark_page", figures)


def _busy_seconds() -> float:
    """Processor time of all programs that were run and have ended."""
    times = os.times()
    return times.children_user + times.children_system


def opened(page: Path) -> float | str:
    """Seconds until a page is loaded and painted, the median of some tries; why not where it cannot be told."""
    path = next((found for found in map(shutil.which, _BROWSERS) if found), None)
    if path is None:
        return "not measured: there is no Chromium on this machine"
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return "not measured: playwright is not installed"
    times = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for _ in range(_TRIES):
            tab = browser.new_page(viewport={"width": 1280, "height": 900})
            begun = time.monotonic()
            tab.goto(page.as_uri(), wait_until="load")
            tab.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
            times.append(time.monotonic() - begun)
            tab.close()
        browser.close()
    return round(sorted(times)[_TRIES // 2], 2)


if __name__ == "__main__":
    main()
