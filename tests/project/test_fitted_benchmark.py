"""The benchmark of fits and predictions on many items measures what its rows say."""

import numpy as np
import pytest

from benchmarks.speed import fitted


def test_items_lie_around_the_centers_of_their_classes(monkeypatch):
    monkeypatch.setattr(fitted, "QUERIES", 10)
    setting = fitted.Setting(400, 5, shots=2, dim=64, dtype="float32")
    assert str(setting) == "400 items of 5 classes, 2 labels each, 64 features in float32"
    x, labels, queries = fitted.data(setting)
    assert x.dtype == np.float32
    assert len(queries) == 10
    assert np.bincount(labels[labels >= 0]).tolist() == [2] * 5
    truth = np.arange(400) % 5
    means = np.stack([x[truth == c].mean(0) for c in range(5)])
    nearest = np.linalg.norm(x[:, None] - means, axis=2).argmin(1)
    assert (nearest == truth).mean() > 0.99


def test_all_items_are_labeled_without_shots():
    _, labels, _ = fitted.data(fitted.Setting(40, 4, dim=3))
    assert (labels >= 0).all()


def test_measured_row(monkeypatch):
    monkeypatch.setattr(fitted, "QUERIES", 20)
    # The tests of this process use one thread.
    monkeypatch.setattr(fitted, "THREADS", 1)
    row = fitted.measure("auto", fitted.Setting(60, 3, shots=1, dim=4), repeats=1)
    assert min(row.values()) > 0
    assert row["peak_gigabytes"] >= row["gigabytes_before"]
    recorded = fitted.record([{"setting": "a", "method": "auto", **row}], 1)
    assert recorded["threads"] == fitted.THREADS
    assert recorded["rows"][0]["fit_seconds"] == pytest.approx(row["fit_seconds"])
