import pytest
import torch

from cristae.errors import RunError
from cristae.inference.device import choose_device


@pytest.fixture
def no_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.usefixtures("no_accelerator")
def test_auto_takes_what_is_there() -> None:
    assert choose_device() == torch.device("cpu")


@pytest.mark.usefixtures("no_accelerator")
def test_a_missing_device_is_reported_with_what_to_do_where_it_was_named() -> None:
    with pytest.raises(
        RunError, match="'cuda' was asked for, but this machine offers only cpu; set the recipe's device"
    ):
        choose_device("cuda")
    with pytest.raises(RunError, match="offers only cpu; begin anew"):
        choose_device("mps", cure="begin anew")
