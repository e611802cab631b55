"""Features on disk: found again, bounded, repaired, and shared by processes."""

import os
import time

import numpy as np
import pytest

from graphfew import encoders
from graphfew.encoders import embedding_cache
from graphfew.encoders.digests import item_digest
from graphfew.encoders.item_encoder import ItemEncoder
from graphfew.errors import ConfigurationError


class Counter:
    """An encoder of texts that counts what it encodes."""

    def __init__(self):
        self.texts = []

    def __call__(self, texts):
        self.texts += texts
        return np.array([[len(text), 1.0] for text in texts])

    def encoder(self, key="counter-1"):
        return ItemEncoder("counter", ("text",), lambda items: self, 2, key).fit(["a"])


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHFEW_CACHE", str(tmp_path))
    return tmp_path / "embeddings"


def files(folder):
    return sorted(folder.glob("*/*.npz"))


def test_features_are_computed_once(folder):
    counter = Counter()
    first = counter.encoder().encode(["a", "bb", "a", "ccc"])
    assert sorted(counter.texts) == ["a", "bb", "ccc"]
    done = []
    second = Counter()
    again = second.encoder().encode(["ccc", "dddd", "a"], done.append)
    assert second.texts == ["dddd"]
    assert done == [2, 3]
    np.testing.assert_array_equal(again[:, 0], [3, 4, 1])
    np.testing.assert_array_equal(first[:, 0], [1, 2, 1, 3])
    other = Counter()
    other.encoder("counter-2").encode(["a"])
    assert other.texts == ["a"]


def test_interrupted_encoding_keeps_what_was_done(monkeypatch):
    monkeypatch.setattr("graphfew.encoders.item_encoder._CHUNK", 2)
    counter = Counter()

    def interrupt(done):
        if done == 3:
            raise KeyboardInterrupt

    texts = ["a", "bb", "ccc"]
    with pytest.raises(KeyboardInterrupt):
        counter.encoder().encode(texts, interrupt)
    again = Counter()
    again.encoder().encode(texts)
    assert again.texts == ["ccc"]


@pytest.mark.parametrize("content", [b"", b"no zip", None])
def test_damaged_file_is_computed_again(folder, content):
    Counter().encoder().encode(["a", "bb"])
    (path,) = files(folder)
    if content is None:
        content = path.read_bytes()[:-60]
    path.write_bytes(content)
    counter = Counter()
    assert counter.encoder().encode(["a", "bb"]).shape == (2, 2)
    assert len(counter.texts) == 2
    again = Counter()
    again.encoder().encode(["a", "bb"])
    assert again.texts == []


def test_least_recently_used_features_go_first(folder, monkeypatch):
    features = np.zeros((1, 25_000), dtype=np.float32)  # 100 kB
    monkeypatch.setenv("GRAPHFEW_EMBEDDINGS_MB", "0.35")
    digests = [item_digest(text) for text in "abcd"]
    for age, digest in enumerate(digests[:3]):
        embedding_cache.store(f"e{age}", [digest], features)
        (path,) = (folder / f"e{age}").iterdir()
        os.utime(path, (1000 + age, 1000 + age))
    assert embedding_cache.lookup("e0", [digests[0]])  # used now
    embedding_cache.store("e3", [digests[3]], features)
    assert {entry.key for entry in encoders.list_cached()} == {"e0", "e2", "e3"}
    assert sum(path.stat().st_size for path in files(folder)) <= 350_000


def test_many_small_files_are_merged(folder):
    for row in range(60):
        digest = item_digest(str(row))
        embedding_cache.store("e", [digest], np.full((1, 3), row, dtype=np.float32))
    assert len(files(folder)) < 52
    found = embedding_cache.lookup("e", [item_digest(str(row)) for row in range(60)])
    assert [found[item_digest(str(row))][0] for row in range(60)] == list(range(60))


def test_listing_and_clearing(folder):
    assert encoders.list_cached() == []
    assert encoders.clear_cache() == 0
    Counter().encoder("one").encode(["a"])
    time.sleep(0.01)
    Counter().encoder("two").encode(["a"])
    listed = encoders.list_cached()
    assert [entry.key for entry in listed] == ["two", "one"]
    assert encoders.clear_cache() == sum(entry.n_bytes for entry in listed)
    assert encoders.list_cached() == []
    assert not files(folder)


def test_no_cache_with_a_limit_of_zero(folder, monkeypatch):
    monkeypatch.setenv("GRAPHFEW_EMBEDDINGS_MB", "0")
    counter = Counter()
    for _ in range(2):
        counter.encoder().encode(["a"])
    assert counter.texts == ["a", "a"]
    assert not folder.exists()


@pytest.mark.parametrize("limit", ["much", "-1", "inf", "nan"])
def test_invalid_limit(limit, monkeypatch):
    monkeypatch.setenv("GRAPHFEW_EMBEDDINGS_MB", limit)
    with pytest.raises(ConfigurationError, match="GRAPHFEW_EMBEDDINGS_MB is"):
        Counter().encoder().encode(["a"])


def test_folder_that_is_not_writable_is_a_warning(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GRAPHFEW_CACHE", str(tmp_path / "file"))
    with pytest.warns(RuntimeWarning, match="cannot write the cache"):
        features = Counter().encoder().encode(["a", "bb"])
    np.testing.assert_array_equal(features[:, 0], [1, 2])


def test_keys_show_the_name_and_depend_on_all_facts():
    key = embedding_cache.cache_key("transformers:/models/MiniLM", "abc")
    assert key.startswith("transformers-models-MiniLM-")
    assert key != embedding_cache.cache_key("transformers:/models/MiniLM", "abd")
    assert "/" not in key
