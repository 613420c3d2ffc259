"""The page that compares programs shows what was measured."""

import json
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROWS = {
    "Cristae": "cristae",
    "MONAI, overlap 0.5": "monai 0.5",
    "MONAI, overlap 0.25": "monai 0.25",
    "nnU-Net, overlap 0.5": "nnunet",
    "Cristae, four mirrored copies": "cristae flips",
    "nnU-Net, four mirrored copies": "nnunet flips",
}


def test_the_table_holds_the_figures_of_the_benchmark():
    page = (ROOT / "docs/results/other-programs.md").read_text()
    measured = json.loads((ROOT / "benchmarks/results/rivals.json").read_text())
    for name, number in measured["versions"].items():
        assert name == "cristae" or number in page
    table = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")][1:]
    assert {row[0] for row in table} == set(ROWS)
    assert set(ROWS.values()) == set(measured["ways"])
    for name, *shown in table:
        way = measured["ways"][ROWS[name]]
        expected = [f"{way['seconds']:.1f}", f"{way['times_the_time_of_cristae']:.2f}", f"{way['peak_gib']:.2f}"]
        if "differing" in way:
            expected.append(f"{100 * way['differing']:.3f} %")
        assert [one.strip(" |") for one in shown if one.strip(" |")] == expected
