"""CACTUs and UMTRA: tasks of unlabeled items, functions of seed and index, on which methods train."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from torch import nn

import graphfew as gf
from graphfew.data import CactusTasks, UmtraTasks, kmeans_partitions
from graphfew.data.augment import dropout, parse_augmentation
from graphfew.data.draws import QUERY, SUPPORT, UNLABELED
from graphfew.data.sources import TaskSource
from graphfew.errors import InvalidInputError

DIGITS = gf.data.digits(size=8)
PIXELS = DIGITS.x.flatten(1).float()
PARTITIONS = kmeans_partitions(PIXELS, 30, n_partitions=3, seed=4)
CHANGE = parse_augmentation("affine+dropout:0.3")


def cactus(data=DIGITS, **options):
    return CactusTasks(data, PARTITIONS, **{"way": 4, "query": 3, "seed": 7, **options})


def umtra(data=DIGITS, **options):
    return UmtraTasks(data, CHANGE, **{"way": 4, "query": 2, "seed": 7, **options})


SOURCES = {
    "cactus": cactus,
    "cactus, ragged": lambda data=DIGITS, **options: cactus(
        data, way=(2, 5), shot=(1, 2), query=(1, 3), unlabeled=2, **options
    ),
    "cactus, few queries": lambda data=DIGITS, **options: cactus(
        data, query=gf.data.effective_classes(2, 6), **options
    ),
    "umtra": umtra,
    "umtra, ragged": lambda data=DIGITS, **options: umtra(
        data, way=(2, 5), shot=(1, 3), query=(1, 3), **options
    ),
    "umtra, random queries": lambda data=DIGITS, **options: umtra(
        data, query=gf.data.mixture(gf.data.multinomial(9), gf.data.single()), **options
    ),
}
each_source = pytest.mark.parametrize("build", SOURCES.values(), ids=SOURCES.keys())


def equal_batches(a, b):
    (left, left_target), (right, right_target) = a, b
    fields = ("x", "y", "query")
    return torch.equal(left_target, right_target) and all(
        torch.equal(getattr(left, name), getattr(right, name)) for name in fields
    )


def with_labels(y, classes):
    return dataclasses.replace(DIGITS, y=y, classes=classes, groups=(), metadata={})


@each_source
def test_labels_are_never_read(build):
    permutation = torch.randperm(len(DIGITS), generator=torch.Generator().manual_seed(0))
    permuted = with_labels(DIGITS.y[permutation], DIGITS.classes)
    removed = with_labels(torch.zeros_like(DIGITS.y), ("unlabeled",))
    expected = build().batch(range(5))
    assert equal_batches(build(permuted).batch(range(5)), expected)
    assert equal_batches(build(removed).batch(range(5)), expected)


@each_source
def test_tasks_depend_on_seed_and_index_alone(build):
    source = build()
    assert isinstance(source, TaskSource)
    together = source.batch(range(3, 7))
    alone = [build().batch([index]) for index in range(3, 7)]
    joined = gf.collate([episode for episode, _ in alone]), torch.cat([y for _, y in alone])
    assert equal_batches(together, joined)
    assert together[0].sizes == joined[0].sizes
    assert together[0].way == joined[0].way
    assert together[0].n_unlabeled == joined[0].n_unlabeled
    assert not equal_batches(source.batch([0]), build(seed=8).batch([0]))
    assert not equal_batches(source.batch([0]), source.batch([1]))


@each_source
def test_episodes_are_valid(build):
    episode, target = build().batch(range(20))
    checked = gf.Episode(episode.x, episode.y, episode.query, episode.sizes, episode.way)
    assert checked.n_queries == episode.n_queries
    assert checked.n_unlabeled == episode.n_unlabeled
    way = torch.tensor(episode.way)[episode.task[episode.query]]
    assert bool(((target >= 0) & (target < way)).all())


@each_source
def test_unshuffled_tasks_have_the_same_items(build):
    source = build()
    plain = dataclasses.replace(source, shuffle=False)
    for index in range(5):
        draw, sorted_draw = source.draw(index), plain.draw(index)
        assert sorted(draw.items) == sorted(sorted_draw.items)
        assert (np.diff(sorted_draw.role) >= 0).all()


@each_source
def test_description_is_json(build):
    described = build().describe()
    assert json.loads(json.dumps(described)) == described
    assert described["source"] in ("cactus", "umtra")
    assert (described["data"], described["seed"]) == ("digits", 7)


@each_source
def test_negative_indices_and_empty_batches_are_rejected(build):
    with pytest.raises(IndexError, match="indices are 0 or more"):
        build().batch([-1])
    with pytest.raises(InvalidInputError, match="pass at least one"):
        build().batch([])


def test_classes_of_a_cactus_task_are_clusters_of_one_partition():
    source = cactus(unlabeled=2)
    used = set()
    for index in range(30):
        draw = source.draw(index)
        matching = [
            p
            for p, partition in enumerate(PARTITIONS)
            if (partition[draw.items] == draw.classes[draw.label]).all()
        ]
        assert matching
        used.update(matching)
        assert len(set(draw.items)) == len(draw.items) == 4 * (1 + 2 + 3)
        counts = [np.count_nonzero(draw.role == role) for role in (SUPPORT, UNLABELED, QUERY)]
        assert counts == [4, 8, 12]
    assert used == {0, 1, 2}


def test_small_clusters_are_left_out():
    partition = np.arange(40) % 4
    partition[:2] = 4
    data = gf.data.arrays(torch.rand(40, 3), np.arange(40) % 2)
    source = CactusTasks(data, [partition], way=2, query=3)
    assert source.describe()["clusters"] == [4]
    assert all(4 not in source.draw(index).classes for index in range(50))


def test_partition_scales_dimensions_at_random_after_the_first():
    features = torch.rand(60, 4, generator=torch.Generator().manual_seed(1))
    first, second = kmeans_partitions(features, 6, n_partitions=2, seed=3)
    same, _ = kmeans_partitions(features, 6, n_partitions=2, seed=3)
    assert (first == same).all()
    assert first.dtype == np.int64
    assert set(first) == set(range(6))
    # Clusters of scaled features differ, and are those of the features times the drawn scales.
    sequence = np.random.SeedSequence(3, spawn_key=(1,))
    scales = torch.from_numpy(np.random.default_rng(sequence).random(4))
    assert (first != second).any()
    means = torch.stack([(features * scales)[second == c].mean(0) for c in range(6)])
    nearest = torch.cdist(features * scales, means).argmin(1).numpy()
    assert (nearest == second).all()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"n_clusters": 1}, "n_clusters=1"),
        ({"n_clusters": 61}, "60 items"),
        ({"n_partitions": 0}, "n_partitions=0"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_invalid_partitions_are_rejected(arguments, reason):
    with pytest.raises(InvalidInputError, match=reason):
        kmeans_partitions(torch.rand(60, 4), **{"n_clusters": 6, **arguments})
    with pytest.raises(InvalidInputError, match="NaN"):
        kmeans_partitions(torch.full((60, 4), torch.nan), 6)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"shot": 500}, "use fewer clusters, shots or queries"),
        ({"way": 31}, "way is 31"),
        ({"way": 1}, "way is 1"),
        ({"query": 0}, "query is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"partitions": ()}, "no partitions"),
        ({"partitions": (PARTITIONS[0][1:],)}, "partition 0 has shape"),
        ({"partitions": (PARTITIONS[0] - 1,)}, "values from -1; .* 0 or more"),
    ],
)
def test_invalid_cactus_options_are_rejected(change, reason):
    with pytest.raises(ValueError, match=reason):
        dataclasses.replace(cactus(), **change)


def test_umtra_classes_are_an_item_and_its_copies():
    source = umtra(way=5, shot=2, query=3)
    episode, target = source.batch(range(4))
    for number, draw in enumerate(map(source.draw, range(4))):
        assert len(set(draw.classes)) == 5
        assert (draw.items == draw.classes[draw.label]).all()
        task = episode.take([number])
        originals = DIGITS.gather(draw.items)
        is_original = (task.x == originals).flatten(1).all(1)
        for c in range(5):
            supports = torch.nonzero(task.y == c).flatten()
            assert bool(is_original[supports[0]])
            assert not bool(is_original[supports[1:]].any())
        assert not bool(is_original[task.query].any())
    assert target.bincount().tolist() == [12] * 5


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"way": 1798}, "1797 items"),
        ({"way": 1}, "way is 1"),
        ({"shot": 0}, "shot is 0"),
        ({"query": 0}, "query is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"data": gf.data.arrays(torch.rand(9, 4), [0, 1, 2] * 3)}, "needs images"),
    ],
)
def test_invalid_umtra_options_are_rejected(change, reason):
    with pytest.raises(ValueError, match=reason):
        dataclasses.replace(umtra(), **change)


def test_dropout_sets_pixels_of_all_channels_to_black():
    images = torch.rand(50, 3, 20, 20) + 0.1
    task = torch.zeros(50, dtype=torch.int64)
    changed = dropout(0.3).transform(images, task, torch.Generator().manual_seed(0))
    is_black = changed == 0
    assert torch.equal(is_black.any(1), is_black.all(1))
    assert torch.equal(changed[~is_black], images[~is_black])
    assert float(is_black.float().mean()) == pytest.approx(0.3, abs=0.02)
    with pytest.raises(InvalidInputError, match=r"rate=1\.0"):
        dropout(1.0)


@pytest.mark.parametrize("build", [cactus, umtra], ids=["cactus", "umtra"])
def test_training_without_labels_improves_on_labeled_tasks(build, one_thread):
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 8))
    nn.init.normal_(encoder[1].weight, std=0.3, generator=torch.Generator().manual_seed(0))
    model = gf.create("prototypical", encoder=encoder, dim=8)
    tasks = gf.Tasks(DIGITS, way=5, query=5, seed=1)
    before = gf.evaluate(model, tasks, n=60).mean
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in gf.train(
        model, build(way=5), loss=gf.node_loss, batch=8, steps=40, optimizer=optimizer
    ):
        pass
    assert gf.evaluate(model, tasks, n=60).mean > before + 0.1
