"""CHAML: hard tasks and classes are repeated, the state resumes exactly, easy classes come first."""

import json
import math

import numpy as np
import pytest
import torch

import graphfew as gf
from graphfew.data import ChamlTasks, Curriculum, Tasks, prototype_difficulty
from graphfew.data.draws import QUERY
from graphfew.data.sources import FeedbackSource
from graphfew.errors import InvalidInputError

N_CLASSES, BATCH = 24, 6


def class_data(groups=()):
    """24 classes of 12 points on a line; class `c` is at `c`."""
    y = torch.arange(N_CLASSES).repeat_interleave(12)
    noise = torch.randn(len(y), 2, generator=torch.Generator().manual_seed(0))
    names = tuple(map(str, range(N_CLASSES)))
    return gf.Dataset("line", "all", y[:, None] + 0.1 * noise, y, names, groups)


DATA = class_data()
GROUPED = class_data(tuple("abcdef"[c // 4] for c in range(N_CLASSES)))
TASKS = Tasks(DATA, way=5, shot=(1, 2), query=2, seed=3)
# Class c is the harder, the larger its number.
EASY_FIRST = tuple(float(c) for c in range(N_CLASSES))


def batch_range(number):
    return range(number * BATCH, (number + 1) * BATCH)


def draws(source, number):
    return [source.draw(index) for index in batch_range(number)]


def report(source, number, loss_of_class=np.asarray):
    """Report a loss that depends on the class of each query."""
    current = draws(source, number)
    losses = [loss_of_class(draw.classes[draw.label[draw.role == QUERY]]) for draw in current]
    source.update(batch_range(number), torch.from_numpy(np.concatenate(losses)).float())


def class_sets(tasks):
    return [frozenset(draw.classes.tolist()) for draw in tasks]


def test_second_batch_keeps_the_hardest_half_of_each_task():
    source = ChamlTasks(TASKS)
    first = class_sets(draws(source, 0))
    report(source, 0)
    for before, after in zip(first, class_sets(draws(source, 1)), strict=True):
        hard = frozenset(sorted(before)[-3:])
        assert hard <= after
        assert not (after - hard) & before
        assert len(after) == 5


def test_third_batch_repeats_the_hardest_half_of_the_tasks_with_other_items():
    source = ChamlTasks(TASKS)
    for number in range(2):
        before = draws(source, number)
        report(source, number)
    after = draws(source, 2)
    hardness = [float(np.mean(draw.classes)) for draw in before]
    hardest = np.argsort(hardness, kind="stable")[::-1][:3]
    assert sorted(class_sets(after)[:3], key=sorted) == sorted(
        (class_sets(before)[i] for i in hardest), key=sorted
    )
    assert not set(class_sets(after)[3:]) & set(class_sets(before))
    # The classes have other numbers, and the items are drawn again.
    pairs = [(before[i], after[j]) for j, i in enumerate(hardest)]
    assert any((a.classes != b.classes).any() for a, b in pairs)
    assert all(set(a.items) != set(b.items) for a, b in pairs)


def test_mean_loss_of_a_task_decides_not_its_number_of_queries():
    tasks = Tasks(DATA, way=(2, 5), query=gf.data.varied((1, 6)), seed=1)
    source = ChamlTasks(tasks)
    report(source, 0)
    report(source, 1, lambda classes: np.ones(len(classes)))
    state = source.state_dict()
    assert all(np.allclose(losses, 1) for losses in state["losses"])
    assert [len(classes) for classes in state["classes"]] == [len(draw) for draw in state["losses"]]
    assert len({len(classes) for classes in state["classes"]}) > 1
    assert len(source.batch(batch_range(2))[0].sizes) == BATCH


def test_groups_stay_together_and_fresh_tasks_have_other_groups():
    tasks = Tasks(GROUPED, way=3, query=2, within_groups=True)
    source = ChamlTasks(tasks)
    previous = []
    for number in range(6):
        current = draws(source, number)
        assert all(len({GROUPED.groups[c] for c in draw.classes}) == 1 for draw in current)
        groups = [GROUPED.groups[draw.classes[0]] for draw in current]
        if number in (2, 4) and len(set(previous)) < 6:
            assert not set(groups[3:]) & set(previous)
        report(source, number)
        previous = groups


def test_parts_of_a_batch_are_those_of_the_whole():
    source = ChamlTasks(TASKS)
    report(source, 0)
    whole, target = source.batch(batch_range(1))
    parts = [source.batch(part) for part in (range(6, 8), range(8, 12))]
    assert torch.equal(whole.x, torch.cat([episode.x for episode, _ in parts]))
    assert torch.equal(target, torch.cat([y for _, y in parts]))
    alone, _ = ChamlTasks(TASKS).batch([9])
    assert alone.n_tasks == 1


def test_restored_state_continues_exactly():
    source = ChamlTasks(TASKS)
    for number in range(3):
        report(source, number)
    state = json.loads(json.dumps(source.state_dict()))
    other = ChamlTasks(TASKS)
    other.load_state_dict(state)
    for number in range(3, 6):
        assert torch.equal(
            source.batch(batch_range(number))[0].x, other.batch(batch_range(number))[0].x
        )
        report(source, number)
        report(other, number)
    assert source.state_dict() == other.state_dict()


def test_copy_on_features_shares_the_state():
    source = ChamlTasks(TASKS)
    features = gf.data.encode(DATA, lambda x: 2 * x, progress=False)
    copy = source.on(features)
    report(copy, 0)
    assert source.state_dict()["number"] == 1
    assert torch.equal(copy.batch(batch_range(1))[0].x, 2 * source.batch(batch_range(1))[0].x)


@pytest.mark.parametrize(
    "change",
    [
        {"classes": [[0, 1]]},
        {"classes": [[99] * 5] * 6},
        {"losses": "x"},
        {"number": None},
        {"number": -1},
        {"classes": [[0, 0]], "losses": [[1.0, 1.0]]},
        {"classes": [[]], "losses": [[]]},
        {"classes": [[0, 1]], "losses": [[1.0, math.nan]]},
    ],
)
def test_invalid_state_is_rejected(change):
    source = ChamlTasks(TASKS)
    report(source, 0)
    state = source.state_dict()
    with pytest.raises(InvalidInputError, match="the state of a ChamlTasks"):
        source.load_state_dict({**state, **change})
    with pytest.raises(InvalidInputError, match="the state of a ChamlTasks"):
        source.load_state_dict({})
    assert source.state_dict() == state


def test_invalid_updates_and_indices_are_rejected():
    source = ChamlTasks(TASKS)
    with pytest.raises(InvalidInputError, match="3 losses for 60 queries"):
        source.update(batch_range(0), torch.ones(3))
    with pytest.raises(InvalidInputError, match="one finite loss"):
        source.update(batch_range(0), torch.full((60,), torch.nan))
    report(source, 0)
    with pytest.raises(InvalidInputError, match="task 0 is before the last update"):
        source.batch(batch_range(0))
    with pytest.raises(IndexError):
        source.batch([-1])


def test_curriculum_restricts_the_first_tasks_to_easy_classes():
    source = ChamlTasks(TASKS, curriculum=Curriculum(EASY_FIRST, n_easy_tasks=4 * BATCH))
    seen = []
    for number in range(8):
        seen.append(set.union(*map(set, class_sets(draws(source, number)))))
        report(source, number)
    assert max(set.union(*seen[:4])) < N_CLASSES / 2 <= max(set.union(*seen[4:]))
    assert source.describe()["n_easy_tasks"] == 4 * BATCH


def test_curriculum_of_groups_has_whole_groups():
    tasks = Tasks(GROUPED, way=3, query=2, within_groups=True)
    source = ChamlTasks(tasks, curriculum=Curriculum(EASY_FIRST, n_easy_tasks=BATCH))
    assert {GROUPED.groups[draw.classes[0]] for draw in draws(source, 0)} <= set("abc")


def test_invalid_curricula_are_rejected():
    with pytest.raises(InvalidInputError, match="difficulty has 2 values"):
        ChamlTasks(TASKS, curriculum=Curriculum((0.0, 1.0), 5))
    wide = Tasks(DATA, way=13, query=2)
    with pytest.raises(InvalidInputError, match="the easiest half"):
        ChamlTasks(wide, curriculum=Curriculum(EASY_FIRST, 5))


def test_difficulty_is_the_error_of_the_nearest_mean_without_the_item():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(40, 2, generator=generator), torch.arange(40) % 4
    errors = np.zeros(4)
    for i in range(40):
        others = torch.arange(40) != i
        means = [x[others & (y == c)].mean(0) for c in range(4)]
        nearest = min(range(4), key=lambda c: float((x[i] - means[c]).norm()))
        errors[int(y[i])] += (nearest != int(y[i])) / 10
    assert prototype_difficulty(gf.data.arrays(x, y)) == pytest.approx(errors.tolist())
    with pytest.raises(InvalidInputError, match="two items or more"):
        prototype_difficulty(gf.data.arrays(x[:5], y[:5]))


def run(model, source, steps, **options):
    return list(gf.train(model, source, loss=gf.node_loss, batch=BATCH, steps=steps, **options))


def test_training_reports_the_loss_of_each_query():
    source = ChamlTasks(TASKS)
    assert isinstance(source, FeedbackSource)
    assert not isinstance(TASKS, FeedbackSource)
    model = gf.create("relation", encoder=gf.backbones.identity(2), seed=1)
    reports = []
    episode, target = source.batch(batch_range(0))
    expected = torch.nn.functional.cross_entropy(
        model(episode).logits, target, reduction="none"
    ).detach()
    run(model, source, 1, feedback=lambda indices, losses: reports.append((indices, losses)))
    ((indices, losses),) = reports
    assert indices == batch_range(0)
    torch.testing.assert_close(losses, expected)
    assert source.state_dict()["number"] == 0


def test_losses_reach_a_source_inside_augmented_tasks():
    data = gf.data.digits()
    source = ChamlTasks(gf.Tasks(data, way=3, query=2))
    tasks = gf.data.AugmentedTasks(source, gf.data.augment.flip())
    encoder = gf.backbones.conv4(width=4, size=data.x.shape[-1])
    steps = gf.train(
        gf.create("prototypical", encoder=encoder), tasks, loss=gf.node_loss, batch=2, steps=2
    )
    for step in steps:
        assert source.state_dict()["number"] == step.index + 1


class HalfOfTheBatch:
    """The second of two processes; the first one has the same values, negated."""

    rank, size = 1, 2

    def sum(self, value):
        return value

    def gather(self, value):
        return [[-x for x in value], value]


def test_processes_report_the_losses_of_the_whole_batch_in_the_order_of_its_tasks():
    model = gf.create("relation", encoder=gf.backbones.identity(2), seed=1)
    reports = []
    source = ChamlTasks(TASKS)
    run(
        model,
        source,
        1,
        process_group=HalfOfTheBatch(),
        feedback=lambda indices, losses: reports.append((indices, losses)),
    )
    ((indices, losses),) = reports
    first, second = losses[:30], losses[30:]
    assert indices == batch_range(0)
    assert torch.equal(first, -second)
    assert bool((second > 0).all())


def test_resumed_training_equals_uninterrupted_training():
    models = [gf.create("relation", encoder=gf.backbones.identity(2), seed=1) for _ in range(2)]
    whole, parts = models
    run(whole, ChamlTasks(TASKS), 6)
    optimizer = torch.optim.Adam(parts.parameters(), lr=1e-3)
    source = ChamlTasks(TASKS)
    run(parts, source, 3, optimizer=optimizer)
    resumed = ChamlTasks(TASKS)
    resumed.load_state_dict(json.loads(json.dumps(source.state_dict())))
    assert resumed.state_dict()["number"] == 3
    run(parts, resumed, 6, optimizer=optimizer, start=3)
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(a, b)
