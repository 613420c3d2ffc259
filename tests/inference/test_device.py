import pytest
import torch

from cristae.errors import RunError
from cristae.inference.device import choose_device, warn_of_slow_bf16
from cristae.progress import Progress


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


class _Heard(Progress):
    def __init__(self) -> None:
        self.warned: list[str] = []

    def warn(self, message: str) -> None:
        self.warned.append(message)


@pytest.mark.parametrize(
    ("device", "capability", "count"), [("cpu", "AVX2", 1), ("cpu", "AVX512", 0), ("cuda", "AVX2", 0)]
)
def test_bf16_is_warned_of_where_a_processor_cannot_do_it(
    device: str, capability: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    heard = _Heard()
    warn_of_slow_bf16(torch.device(device), "training.precision", heard)
    assert len(heard.warned) == count
    assert all("training.precision: bf16 is many times slower" in one and "AVX2" in one for one in heard.warned)
