"""Tasks of which few items have a label: hidden shots, unlabeled items, distractor classes."""

import itertools
import json

import numpy as np
import pytest
import torch
from episodes import randomized

import graphfew as gf
from graphfew.data import Dataset, Tasks, dirichlet
from graphfew.data.draws import QUERY, SUPPORT, UNLABELED

Y = torch.arange(10).repeat_interleave(20)
DATA = Dataset(
    name="toy",
    split="all",
    x=torch.arange(200)[:, None].float(),
    y=Y,
    classes=tuple(f"class{c}" for c in range(10)),
)
RATIOS = (0.2, 0.4, 0.6, 1.0)


def counts(draw, role):
    return np.bincount(
        draw.label[(draw.role == role) & (draw.label >= 0)], minlength=len(draw.classes)
    ).tolist()


@pytest.mark.parametrize(
    ("shot", "ratio", "kept"),
    [(5, 0.2, 1), (5, 0.4, 2), (5, 0.6, 3), (5, 1.0, 5), (3, 0.5, 2), (1, 0.2, 1), (5, 0.01, 1)],
)
def test_a_fraction_of_each_class_keeps_its_label(shot, ratio, kept):
    draw = Tasks(DATA, way=4, shot=shot, query=2, unlabeled=3, labeled_ratio=ratio).draw(5)
    assert counts(draw, SUPPORT) == [kept] * 4
    assert counts(draw, UNLABELED) == [shot - kept + 3] * 4
    assert counts(draw, QUERY) == [2] * 4


def test_the_items_do_not_depend_on_the_labeled_ratio():
    draws = [
        Tasks(DATA, way=4, shot=5, query=dirichlet(20), labeled_ratio=r, seed=3).draw(8)
        for r in RATIOS
    ]
    for few, more in itertools.pairwise(draws):
        assert few.items.tolist() == more.items.tolist()
        assert few.label.tolist() == more.label.tolist()
        assert set(few.items[few.role == SUPPORT]) < set(more.items[more.role == SUPPORT])
        assert set(few.items[few.role == QUERY]) == set(more.items[more.role == QUERY])


def test_one_of_several_ratios_is_drawn_per_task():
    tasks = Tasks(DATA, way=2, shot=5, query=1, labeled_ratio=RATIOS)
    kept = [counts(tasks.draw(i), SUPPORT)[0] for i in range(400)]
    shares = np.bincount(kept, minlength=6) / 400
    assert np.abs(shares[[1, 2, 3, 5]] - 0.25).max() < 0.08


def test_hidden_labels_are_not_in_the_episode():
    tasks = Tasks(DATA, way=4, shot=5, query=2, unlabeled=1, labeled_ratio=0.2, distractors=2)
    draw, (episode, target) = tasks.draw(3), tasks[3]
    assert (episode.y[torch.from_numpy(draw.role != SUPPORT)] == -1).all()
    assert episode.n_unlabeled == (4 * 5 + 2,)
    assert len(target) == 8


@pytest.mark.parametrize("distractors", [1, 3, (0, 2)])
def test_distractors_are_of_classes_outside_the_task(distractors):
    tasks = Tasks(DATA, way=4, shot=2, query=2, unlabeled=3, distractors=distractors)
    seen = set()
    for i in range(60):
        draw = tasks.draw(i)
        strange = draw.items[draw.label == -1]
        assert (draw.role[draw.label == -1] == UNLABELED).all()
        assert not np.isin(Y[strange], draw.classes).any()
        assert set(np.bincount(Y[strange], minlength=10).tolist()) <= {0, 3}
        assert len(set(draw.items.tolist())) == len(draw.items)
        seen.add(len(strange) // 3)
    lo, hi = distractors if isinstance(distractors, tuple) else (distractors, distractors)
    assert seen == set(range(lo, hi + 1))


def test_distractors_do_not_change_the_other_items():
    plain, beside = (
        Tasks(DATA, way=4, shot=2, query=2, unlabeled=3, distractors=d, shuffle=False).draw(6)
        for d in (0, 2)
    )
    own = beside.label >= 0
    assert beside.items[own].tolist() == plain.items.tolist()
    assert beside.role[own].tolist() == plain.role.tolist()


def test_distractors_are_at_random_positions():
    tasks = Tasks(DATA, way=2, shot=1, query=1, unlabeled=1, distractors=2)
    place = np.mean([tasks.draw(i).label == -1 for i in range(2000)], axis=0)
    assert np.abs(place - 2 / 8).max() < 0.04


def test_describe_omits_both_options_at_their_defaults():
    told = Tasks(DATA, shot=5, unlabeled=2, labeled_ratio=RATIOS, distractors=(0, 2)).describe()
    assert told["labeled_ratio"] == list(RATIOS)
    assert told["distractors"] == [0, 2]
    assert json.loads(json.dumps(told)) == told
    assert not {"labeled_ratio", "distractors"} & set(Tasks(DATA).describe())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"labeled_ratio": 0.0}, "labeled_ratio is 0.0"),
        ({"labeled_ratio": (0.5, 1.1)}, "at most 1"),
        ({"labeled_ratio": ()}, "or several"),
        ({"labeled_ratio": float("nan")}, "above 0"),
        ({"distractors": 1}, "unlabeled is 0"),
        ({"distractors": 6, "unlabeled": 1}, "5 classes and 6 distractor"),
        ({"distractors": -1}, "distractors"),
        ({"distractors": 1, "unlabeled": 21, "shot": 1}, "has 20 items"),
    ],
)
def test_invalid_arguments_are_rejected(options, words):
    with pytest.raises(ValueError, match=words):
        Tasks(DATA, **options)


def test_the_smallest_class_must_suffice_as_a_distractor():
    data = Dataset(
        name="toy",
        split="all",
        x=torch.zeros(13, 1),
        y=torch.tensor([0] * 6 + [1] * 6 + [2]),
        classes=("a", "b", "c"),
    )
    with pytest.raises(ValueError, match="1 items"):
        Tasks(data, way=2, shot=1, query=1, unlabeled=2, distractors=1)


def test_labeled_only_equals_an_episode_without_unlabeled_nodes():
    tasks = Tasks(DATA, way=3, shot=5, query=2, labeled_ratio=0.4, shuffle=False)
    episode, _ = tasks.batch(range(3))
    whole, alone = episode.drop_unlabeled(), [tasks[i][0] for i in range(3)]
    for task, own in zip(alone, (whole.take([i]) for i in range(3)), strict=True):
        keep = task.query | (task.y >= 0)
        by_hand = gf.Episode.single(task.x[keep], task.y[keep], task.query[keep], 3)
        for name in ("x", "y", "query"):
            assert torch.equal(getattr(own, name), getattr(by_hand, name))
        assert (own.sizes, own.n_queries, own.n_unlabeled) == (
            by_hand.sizes,
            by_hand.n_queries,
            (0,),
        )
    assert whole.drop_unlabeled() is whole


NOISE = torch.randn(200, 6, generator=torch.Generator().manual_seed(0))
FEATURES = Dataset(name="toy", split="all", x=NOISE + Y[:, None], y=Y, classes=DATA.classes)


def test_a_method_without_unlabeled_nodes_can_drop_them():
    tasks = Tasks(FEATURES, way=3, shot=5, query=2, labeled_ratio=0.2)
    model = gf.create("prototypical", encoder=gf.backbones.identity(6))
    with pytest.raises(ValueError, match="12 unlabeled"):
        gf.evaluate(model, tasks, 3)
    result = gf.evaluate(model.in_mode(unlabeled=False), tasks, 3)
    assert str(result.mode) == "inductive, unlabeled nodes dropped"
    episode, target = tasks.batch(range(3))
    right = model(episode.drop_unlabeled()).logits.argmax(1) == target
    assert result.mean == pytest.approx(right.double().mean().item())
    assert result.model["method"] == "prototypical"


@pytest.mark.parametrize("transductive", [True, False])
def test_results_with_and_without_unlabeled_nodes_are_comparable(transductive):
    tasks = Tasks(FEATURES, way=3, shot=5, query=2, labeled_ratio=0.2)
    model = gf.create(
        "label_propagation", encoder=gf.backbones.identity(6), transductive=transductive
    )
    using, dropping = (gf.evaluate(m, tasks, 20) for m in (model, model.in_mode(unlabeled=False)))
    mode = "transductive" if transductive else "inductive"
    assert (str(using.mode), str(dropping.mode)) == (
        f"semi-supervised, {mode}",
        f"{mode}, unlabeled nodes dropped",
    )
    assert gf.compare_results(using, dropping).difference != 0


@pytest.mark.parametrize("transductive", [True, False])
def test_egnn_does_not_use_hidden_labels(transductive):
    """The published evaluation let the supports whose labels it hid vote with their true labels."""
    tasks = Tasks(FEATURES, way=3, shot=5, query=2, labeled_ratio=0.2)
    encoder = gf.backbones.identity(6)
    model = randomized(gf.create("egnn", encoder=encoder, width=8, transductive=transductive))
    draw, episode = tasks.draw(0), tasks[0][0].to(torch.float64)
    with gf.nn.eval_mode(model):
        out = model(episode)
    graph = out.graphs[-1]
    label = torch.from_numpy(draw.label).tolist()
    hidden = torch.from_numpy(draw.role == UNLABELED)
    if not transductive:
        origin = torch.cat(
            [
                torch.cat([torch.nonzero(~episode.query).flatten(), q[None]])
                for q in torch.nonzero(episode.query).flatten()
            ]
        ).tolist()
        label, hidden = [label[i] for i in origin], hidden[origin]
    honest, leaky = torch.zeros(2, 6, 3, dtype=torch.float64)
    rank = {node: k for k, node in enumerate(torch.nonzero(graph.episode.query).flatten().tolist())}
    senders, receivers = graph.topology.senders.tolist(), graph.topology.receivers.tolist()
    for edge, (sender, receiver) in enumerate(zip(senders, receivers, strict=True)):
        if receiver in rank and sender not in rank:
            leaky[rank[receiver], label[sender]] += graph.edges[edge, 0]
            if not hidden[sender]:
                honest[rank[receiver], label[sender]] += graph.edges[edge, 0]
    assert torch.allclose(out.logits.softmax(1), honest / honest.sum(1, keepdim=True), atol=1e-5)
    assert not torch.allclose(out.logits.softmax(1), leaky / leaky.sum(1, keepdim=True), atol=1e-3)
