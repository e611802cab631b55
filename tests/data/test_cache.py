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
    first, second = (cache.cached("key", ("a", "b"), build) for _ in range(2))
    assert build.calls == 1
    assert all((first[n] == second[n]).all() for n in ("a", "b"))
    assert [p.suffix for p in folder.iterdir()] == [".npz"]


def test_another_key_is_built_apart(folder):
    assert cache.cached("one", ("a",), Build(1))["a"][0] == 1
    assert cache.cached("two", ("a",), Build(2))["a"][0] == 2


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
def test_a_damaged_file_is_built_again(folder, damage):
    build = Build()
    cache.cached("key", ("a", "b"), build)
    file = next(folder.iterdir())
    file.write_bytes(damage(file.read_bytes()))
    assert cache.cached("key", ("a", "b"), build)["a"].tolist() == [1] * 5
    assert build.calls == 2
    cache.cached("key", ("a", "b"), build)
    assert build.calls == 2


def test_a_pickle_is_never_opened(folder):
    folder.mkdir(parents=True)
    np.savez(folder / f"key-v{cache.FORMAT}.npz", a=np.array([print], dtype=object), b=np.zeros(1))
    build = Build()
    assert cache.cached("key", ("a", "b"), build)["a"].tolist() == [1] * 5
    assert build.calls == 1


def test_a_failed_build_leaves_nothing(folder):
    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cache.cached("key", ("a",), fail)
    assert not folder.exists()


def test_a_failed_write_leaves_no_part_and_still_returns(folder, monkeypatch):
    def fail(file, **arrays):
        file.write(b"part")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.warns(RuntimeWarning, match="disk full.*GRAPHFEW_CACHE"):
        assert cache.cached("key", ("a",), Build())["a"].tolist() == [1] * 5
    assert list(folder.iterdir()) == []
