"""Filling a network with the tensors of a file that match."""

import json

import pytest
import torch
from safetensors.torch import save_file

from cristae.errors import MissingFileError, NetworkError
from cristae.models import UNetBNConfig
from cristae.models.pretrained import load_matching


def network(out_channels=1, seed=0, widths=(4, 8)):
    torch.manual_seed(seed)
    return UNetBNConfig(widths=widths).build(1, out_channels)


@pytest.fixture
def weights(tmp_path):
    """A file of weights, and the tensors in it."""
    tensors = network(seed=1).state_dict()
    save_file(tensors, tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors", tensors


def test_the_same_network_is_filled_wholly(weights):
    path, saved = weights
    target = network()
    report = load_matching(target, path)
    assert all(torch.equal(tensor, saved[name]) for name, tensor in target.state_dict().items())
    assert report.matched == tuple(saved)
    assert report.parameter_share == 1
    assert report.summary == f"{len(saved)} of {len(saved)} tensors (100.0 % of the parameters) match"


def test_tensors_of_another_shape_stay_as_they_are(weights):
    path, saved = weights
    target = network(out_channels=3)
    head = target.head.weight.clone()
    report = load_matching(target, path)
    assert torch.equal(target.head.weight, head)
    assert torch.equal(target.encoder[0][0][0].weight, saved["encoder.0.0.0.weight"])
    assert [str(one) for one in report.other_shape] == [
        "head.weight (1 x 4 x 1 x 1 instead of 3 x 4 x 1 x 1)",
        "head.bias (1 instead of 3)",
    ]
    total = sum(parameter.numel() for parameter in target.parameters())
    assert report.parameter_share == pytest.approx((total - 15) / total)
    assert report.summary == (
        f"{len(saved) - 2} of {len(saved)} tensors ({100 * (total - 15) / total:.1f} % of the parameters) match; of "
        "another shape: head.weight (1 x 4 x 1 x 1 instead of 3 x 4 x 1 x 1), head.bias (1 instead of 3)"
    )
    assert json.loads(json.dumps(report.to_dict()))["other_shape"][1] == {
        "name": "head.bias",
        "saved": [1],
        "wanted": [3],
    }


def test_what_only_one_of_them_has_is_told(weights):
    path, _ = weights
    target = network()
    target.extra = torch.nn.Linear(2, 2)
    del target.head
    report = load_matching(target, path)
    assert report.missing == ("extra.weight", "extra.bias")
    assert report.unexpected == ("head.bias", "head.weight")
    assert report.summary.endswith(
        "; not in the file: extra.weight, extra.bias; in the file only: head.bias, head.weight"
    )


def test_long_lists_are_cut(weights):
    path, _ = weights
    report = load_matching(network(widths=(4, 8, 16)), path)
    assert len(report.missing) > 3
    assert f" and {len(report.missing) - 3} more" in report.summary


def test_nearly_all_is_not_called_all(tmp_path):
    target = torch.nn.Sequential(torch.nn.Linear(100, 100), torch.nn.Linear(1, 1, bias=False))
    save_file(torch.nn.Sequential(torch.nn.Linear(100, 100)).state_dict(), tmp_path / "w.safetensors")
    assert "(99.9 % of the parameters)" in load_matching(target, tmp_path / "w.safetensors").summary


def test_half_precision_is_taken(tmp_path, weights):
    _, saved = weights
    save_file({n: t.half() if t.is_floating_point() else t for n, t in saved.items()}, tmp_path / "half.safetensors")
    target = network()
    load_matching(target, tmp_path / "half.safetensors")
    assert target.head.weight.dtype == torch.float32
    torch.testing.assert_close(target.head.weight, saved["head.weight"], rtol=1e-3, atol=1e-3)


def refused(path, error, message):
    target = network()
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    with pytest.raises(error, match=message):
        load_matching(target, path)
    assert all(torch.equal(tensor, before[name]) for name, tensor in target.state_dict().items())


def test_nothing_that_matches(tmp_path):
    save_file({"a": torch.ones(3), "encoder.0.0.1.num_batches_tracked": torch.tensor(3)}, tmp_path / "w.safetensors")
    message = (
        r"none of the network's parameters match .* It has a \(3\); "
        r"the network has encoder\.0\.0\.0\.weight \(4 x 1 x 3 x 3\)"
    )
    refused(tmp_path / "w.safetensors", NetworkError, message)


def test_a_bias_that_fits_by_chance_is_no_match(tmp_path):
    wanted = torch.nn.Sequential(torch.nn.Linear(100, 10), torch.nn.Linear(10, 5))
    save_file({"0.bias": torch.ones(10), "0.weight": torch.ones(10, 9)}, tmp_path / "w.safetensors")
    bias = wanted[0].bias.detach().clone()
    with pytest.raises(
        NetworkError, match=r"less than 1 % of .* It has 0\.weight \(10 x 9\); the network has 0\.weight"
    ):
        load_matching(wanted, tmp_path / "w.safetensors")
    assert torch.equal(wanted[0].bias, bias)
    save_file({"0.bias": torch.ones(10), "1.bias": torch.ones(5)}, tmp_path / "enough.safetensors")
    assert load_matching(wanted, tmp_path / "enough.safetensors").parameter_share == pytest.approx(15 / 1065)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(tmp_path, weights, value):
    _, saved = weights
    broken = {name: tensor.clone() for name, tensor in saved.items()}
    broken["head.bias"][0] = value
    save_file(broken, tmp_path / "w.safetensors")
    refused(tmp_path / "w.safetensors", NetworkError, "head.bias holds NaN or infinity")


def test_numbers_of_another_kind(tmp_path, weights):
    _, saved = weights
    save_file(saved | {"head.bias": torch.tensor([3])}, tmp_path / "w.safetensors")
    refused(tmp_path / "w.safetensors", NetworkError, r"head\.bias holds torch\.int64, not torch\.float32")


def test_files_that_cannot_be_read(tmp_path, weights):
    path, _ = weights
    refused(tmp_path / "none.safetensors", MissingFileError, "there is no such file")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(path.read_bytes()[:-10])
    refused(cut, NetworkError, "is damaged")
    cut.write_bytes(b"")
    refused(cut, NetworkError, "is damaged")
    torch.save(network().state_dict(), tmp_path / "weights.pt")
    refused(tmp_path / "weights.pt", NetworkError, "is not a .safetensors file, the only kind that is read")
