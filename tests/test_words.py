import pytest

from cristae.words import duration, memory


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3600, "1 h 00 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_durations_read_as_people_say_them(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_bytes_read_as_people_say_them() -> None:
    sizes = (10, 2048, 3 * 2**20, 512 * 2**20, 1.5 * 2**30, 2000 * 2**30)
    assert [memory(size) for size in sizes] == ["10 B", "2 KiB", "3 MiB", "512 MiB", "1.5 GiB", "2000.0 GiB"]
