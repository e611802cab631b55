"""Partially labeled sets of the suite: sizes, labels, outliers and numbering of classes."""

import dataclasses

import numpy as np
import pytest

from benchmarks.unlabeled_sets import datasets, settings
from benchmarks.unlabeled_sets.datasets import FeatureSet
from benchmarks.unlabeled_sets.settings import Setting, list_settings, sample_set
from benchmarks.unlabeled_sets.spec import SPEC, read_spec


@pytest.fixture
def spec():
    return read_spec()


def numbered(sizes):
    """A data set whose only feature is the item's index, with its class as the second."""
    y = np.repeat(np.arange(len(sizes)), sizes)
    return FeatureSet(np.stack([np.arange(len(y)), y], axis=1).astype(np.float64), y)


def true_classes(sample):
    return sample.x[:, 1].astype(int)


def test_each_class_has_its_labels_and_all_others_are_hidden(spec):
    data = numbered([90, 120, 60, 200])
    for shots in (1, 3, 10):
        sample = sample_set(data, Setting("d", shots, "natural"), 0, spec)
        assert np.bincount(sample.y[sample.y >= 0]).tolist() == [shots] * 4
        labeled = sample.y >= 0
        assert (sample.y[labeled] == sample.target[labeled]).all()
        assert set(sample.y[~labeled]) == {-1}


def test_target_is_one_to_one_with_the_true_class_and_no_item_appears_twice(spec):
    sample = sample_set(numbered([50, 50, 50, 50, 50]), Setting("d", 1, "long_tail"), 0, spec)
    pairs = set(zip(sample.target.tolist(), true_classes(sample).tolist(), strict=True))
    assert len(pairs) == 5
    assert len(np.unique(sample.x[:, 0])) == len(sample.x)


def test_order_of_items_tells_nothing_about_class_or_label(spec):
    sample = sample_set(numbered([300, 300]), Setting("d", 10, "natural"), 0, spec)
    position = np.arange(len(sample.y))
    for order in (sample.target, sample.y >= 0):
        assert abs(np.corrcoef(position, order)[0, 1]) < 0.15


def test_natural_balance_keeps_all_items_or_scales_to_the_cap(spec):
    data = numbered([400, 800, 1200])
    small = dataclasses.replace(spec, cap=5000)
    counts = np.bincount(true_classes(sample_set(data, Setting("d", 1, "natural"), 0, small)))
    assert counts.tolist() == [400, 800, 1200]
    counts = np.bincount(true_classes(sample_set(data, Setting("d", 1, "natural"), 0, spec)))
    assert counts.sum() <= 1500
    assert counts == pytest.approx([250, 500, 750], abs=1)


@pytest.mark.parametrize(("balance", "share"), [("80:20", 0.2), ("95:5", 0.05), ("99:1", 0.01)])
def test_two_classes_have_their_shares(spec, balance, share):
    sample = sample_set(numbered([2000, 2000, 2000]), Setting("d", 1, balance), 0, spec)
    counts = np.bincount(sample.target)
    assert len(counts) == 2
    assert counts.sum() == pytest.approx(1500, abs=2)
    assert counts.min() / counts.sum() == pytest.approx(share, abs=0.001)


def test_long_tail_is_geometric_from_ten_to_one(spec):
    sample = sample_set(numbered([2000] * 5), Setting("d", 1, "long_tail"), 0, spec)
    counts = np.sort(np.bincount(sample.target))[::-1]
    assert counts.sum() <= spec.cap
    expected = counts[0] * 10.0 ** -np.linspace(0, 1, 5)
    assert counts == pytest.approx(expected, abs=1)


def test_largest_class_is_any_of_them_and_has_any_number(spec):
    data = numbered([2000, 2000, 2000])
    largest, numbers = set(), set()
    for draw in range(30):
        sample = sample_set(data, Setting("d", 1, "95:5"), draw, spec)
        number = int(np.bincount(sample.target).argmax())
        numbers.add(number)
        largest.add(int(true_classes(sample)[sample.target == number][0]))
    assert (largest, numbers) == ({0, 1, 2}, {0, 1})


def test_classes_are_numbered_at_random(spec):
    data = numbered([20, 20, 20])
    seen = set()
    for draw in range(40):
        sample = sample_set(data, Setting("d", 1, "natural"), draw, spec)
        order = [int(true_classes(sample)[sample.target == number][0]) for number in range(3)]
        seen.add(tuple(order))
    assert len(seen) == 6


@pytest.mark.parametrize(("kind", "n_outlier_classes"), [("spread", 3), ("compact", 1)])
def test_outliers_belong_to_classes_without_members(spec, kind, n_outlier_classes):
    data = numbered([500] * 9)
    sample = sample_set(data, Setting("d", 3, "natural", kind), 0, spec)
    is_outlier = sample.target < 0
    outlier_classes = set(true_classes(sample)[is_outlier])
    assert len(outlier_classes) == n_outlier_classes
    assert not outlier_classes & set(true_classes(sample)[~is_outlier])
    assert (sample.y[is_outlier] == -1).all()
    assert is_outlier.mean() == pytest.approx(0.3, abs=0.001)
    assert len(sample.y) <= spec.cap


def test_draws_are_deterministic_and_differ(spec):
    data, setting = numbered([100, 100, 100]), Setting("d", 3, "natural", "compact")
    one, again, other = (sample_set(data, setting, draw, spec) for draw in (0, 0, 1))
    assert (one.x == again.x).all()
    assert (one.y == again.y).all()
    assert (one.target == again.target).all()
    assert (one.x[:, 0] != other.x[:, 0]).any()
    reseeded = sample_set(data, setting, 0, dataclasses.replace(spec, seed=1))
    assert (one.x[:, 0] != reseeded.x[:, 0]).any()


def test_settings_that_a_data_set_cannot_reach_have_no_sample(spec):
    data = numbered([50, 50, 50])
    assert sample_set(data, Setting("d", 1, "95:5"), 0, spec) is not None
    # 50 and 12 items are not 99:1.
    assert sample_set(data, Setting("d", 10, "99:1"), 0, spec) is None
    assert sample_set(numbered([50, 4]), Setting("d", 3, "natural"), 0, spec) is None
    # One class is left.
    assert sample_set(numbered([50, 50]), Setting("d", 1, "natural", "spread"), 0, spec) is None


def test_every_class_keeps_two_unlabeled_items_above_the_cap(spec):
    sample = sample_set(numbered([20] * 150), Setting("d", 10, "natural"), 0, spec)
    assert np.bincount(sample.target).tolist() == [12] * 150


def test_spec_has_all_combinations_and_known_names(spec):
    found = list_settings(spec)
    assert len(found) == len(set(found)) == 10 * 3 * 7
    assert all(setting.balance == "natural" for setting in found if setting.outliers != "none")
    assert set(spec.datasets) == set(datasets.LOADERS)
    assert set(spec.balances) == set(settings.BALANCES)
    assert {row.name for row in spec.methods if not row.single} == {"auto"}
    assert all(row.features for row in spec.methods)


def test_spec_with_an_unknown_key_or_two_equal_names_is_refused(tmp_path):
    text = SPEC.read_text(encoding="utf-8")
    path = tmp_path / "spec.toml"
    path.write_text(f"labels = 3\n{text}")
    with pytest.raises(ValueError, match=r"not a spec of the suite.*labels"):
        read_spec(path)
    path.write_text(f'{text}\n[[method]]\nname = "auto"\nfeatures = "none"\n')
    with pytest.raises(ValueError, match="several methods named auto"):
        read_spec(path)
