import numpy as np
import pytest

from graphfew.data.io import cache


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHFEW_CACHE", str(tmp_path / "new" / "cache"))
    return tmp_path / "new" / "cache"


class Build:
    def __init__(self, value=1):
        self.calls, self.value = 0, value

    def __call__(self):
        self.calls += 1
        return {"a": np.full(5, self.value), "b": np.array(["x", "längst"])}


def test_builds_once(folder):
    build = Build()
    first, second = (cache.load_or_build("key", ("a", "b"), build) for _ in range(2))
    assert build.calls == 1
    assert all((first[n] == second[n]).all() for n in ("a", "b"))
    assert [p.suffix for p in folder.iterdir()] == [".npz"]


def test_keys_are_independent(folder):
    assert cache.load_or_build("one", ("a",), Build(1))["a"][0] == 1
    assert cache.load_or_build("two", ("a",), Build(2))["a"][0] == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b"",
        lambda b: b[:40],
        lambda b: b[: len(b) // 2],
        lambda b: b"noise" * 99,
        lambda b: b[:60] + bytes([b[60] ^ 255]) + b[61:],
    ],
)
def test_a_damaged_file_is_rebuilt(folder, damage):
    build = Build()
    cache.load_or_build("key", ("a", "b"), build)
    file = next(folder.iterdir())
    file.write_bytes(damage(file.read_bytes()))
    assert cache.load_or_build("key", ("a", "b"), build)["a"].tolist() == [1] * 5
    assert build.calls == 2
    cache.load_or_build("key", ("a", "b"), build)
    assert build.calls == 2


def test_pickled_arrays_are_never_loaded(folder):
    folder.mkdir(parents=True)
    np.savez(
        folder / f"key-v{cache.FORMAT_VERSION}.npz",
        a=np.array([print], dtype=object),
        b=np.zeros(1),
    )
    build = Build()
    assert cache.load_or_build("key", ("a", "b"), build)["a"].tolist() == [1] * 5
    assert build.calls == 1


def test_a_failed_build_leaves_nothing(folder):
    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cache.load_or_build("key", ("a",), fail)
    assert not folder.exists()


def test_a_failed_write_leaves_no_partial_file_and_returns_the_arrays(folder, monkeypatch):
    def fail(file, **arrays):
        file.write(b"part")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.warns(RuntimeWarning, match="disk full.*GRAPHFEW_CACHE"):
        assert cache.load_or_build("key", ("a",), Build())["a"].tolist() == [1] * 5
    assert list(folder.iterdir()) == []
