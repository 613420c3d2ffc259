"""Agreement of published outputs with the truth beside them, against the scores of their authors' notebook."""

import os
from pathlib import Path

import pytest

from cristae.evaluation.agreement import AgreementOptions
from cristae.workflows.agree import agree

ROOT = Path(os.environ.get("CRISTAE_DATA", "")) / "em-stellar-cardiac"
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(
        not os.environ.get("CRISTAE_DATA") or not ROOT.is_dir(), reason="CRISTAE_DATA has no em-stellar-cardiac"
    ),
]
# F1, Jaccard, mean IoU, slice-mean F1; mitochondria positive
NOTEBOOK = {
    "EM-net V1 BN": (0.97468, 0.95061, 0.96098, 0.97234),
    "CDeep3M": (0.96607, 0.93437, 0.94717, 0.96352),
    "U-net": (0.96651, 0.93519, 0.94900, 0.96377),
}


def test_every_method_agrees_with_the_truth_as_published():
    folders = {"truth": ROOT / "Groundtruth"} | {name: ROOT / name for name in NOTEBOOK}
    agreement = agree(folders, options=AgreementOptions(binarize=0.5))
    assert len(agreement.pairs) == 6
    found = {(s.run, s.metric, s.class_name): s.value for s in agreement.scores()}
    for name, expected in NOTEBOOK.items():
        run = f"truth vs {name}"
        wanted = [("F1", "foreground"), ("Jaccard", "foreground"), ("mIoU", "all"), ("F1_slice_mean", "foreground")]
        assert [found[run, *key] for key in wanted] == pytest.approx(expected, abs=6e-6)
    assert found["truth", "volume_fraction", "foreground"] == pytest.approx(0.365527, abs=1e-6)
