"""Reptile, FOML and Leap against loops in float64, resuming, and what they refuse."""

import dataclasses
import math
from functools import partial

import pytest
import torch
from sources import Gaussians
from torch import nn
from torch.nn import functional

import graphfew as gf
from graphfew.errors import InvalidInputError
from graphfew.nn.class_scores import class_score_graph
from graphfew.nn.classifier_starts import own_rows
from graphfew.nn.readout import class_node_logits
from graphfew.training import InnerTraining, foml, leap, query_loss_update, reptile

SGD = partial(torch.optim.SGD, lr=0.2)
N_FEATURES, WIDTH, WAY = 4, 5, 3


class TwoLayers(nn.Module):
    """An initial network of the encoder and one row per class, and its adaptation by SGD."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.rows = nn.Parameter(torch.randn(WAY, WIDTH, generator=generator).double())

    def initial_parameters(self, encoder, supports):
        return {"rows": self.rows, **dict(encoder.named_parameters())}

    def task_logits(self, encoder, parameters, task):
        weights = {name: value for name, value in parameters.items() if name != "rows"}
        features = torch.func.functional_call(encoder, weights, (task.x,))
        return features @ parameters["rows"].T

    def forward(self, encoder, episode):
        scores = [self.adapted(encoder, episode.take([t])) for t in range(episode.n_tasks)]
        return episode.encode(lambda _: torch.cat(scores))

    def adapted(self, encoder, task):
        with torch.enable_grad():
            supports = task.drop_queries()
            parameters = {
                name: value.detach().clone().requires_grad_()
                for name, value in self.initial_parameters(encoder, supports).items()
            }
            for _ in range(5):
                loss = functional.cross_entropy(
                    self.task_logits(encoder, parameters, supports), supports.y
                )
                gradients = torch.autograd.grad(loss, list(parameters.values()))
                parameters = {
                    name: (value - 0.2 * gradient).detach().requires_grad_()
                    for (name, value), gradient in zip(parameters.items(), gradients, strict=True)
                }
        return self.task_logits(encoder, parameters, task).detach()


def build_model():
    encoder = nn.Sequential(nn.Linear(N_FEATURES, WIDTH), nn.Tanh()).double()
    with torch.no_grad():
        encoder[0].weight.copy_(
            torch.randn(WIDTH, N_FEATURES, generator=torch.Generator().manual_seed(0))
        )
        encoder[0].bias.zero_()
    return gf.GraphMethod(
        encoder,
        class_score_graph,
        [],
        class_node_logits,
        transductive=False,
        independent_queries=True,
        condition=TwoLayers(),
    )


class Float64Gaussians(Gaussians):
    """Tasks in float64."""

    def batch(self, indices):
        episode, target = super().batch(indices)
        return episode.to(torch.float64), target


@dataclasses.dataclass(frozen=True)
class NoisyGaussians(Gaussians):
    """Tasks in float64 whose last features are large noise, which an encoder can learn to ignore."""

    def task(self, index):
        episode, target = super().task(index)
        generator = torch.Generator().manual_seed(10_000 * self.seed + index)
        noise = 2 * torch.randn(len(episode.x), N_FEATURES - self.dim, generator=generator)
        return episode.encode(lambda x: torch.cat([x, noise], 1).double()), target


TASKS = Float64Gaussians(shot=3, query=2)


def run(model, rule, steps=1, tasks=TASKS, **options):
    options = {"optimizer": torch.optim.SGD(model.parameters(), lr=0.5), **options}
    return list(
        gf.train(model, tasks, loss=gf.node_loss, update=rule, batch=2, steps=steps, **options)
    )


# The reference: x, y and weights as nested loops over tasks and steps.


def reference_loss(weights, x, y):
    """Mean cross-entropy, item by item."""
    rows, matrix, bias = weights
    total = x.new_zeros(())
    for item, label in zip(x, y, strict=True):
        hidden = torch.tanh(matrix @ item + bias)
        scores = torch.stack([rows[c] @ hidden for c in range(WAY)])
        total = total - scores[label] + scores.exp().sum().log()
    return total / len(y)


def adam_step(state, value, gradient, lr=1e-3, decay=0.999):
    """Adam without momentum."""
    state["n"] = state.get("n", 0) + 1
    state["square"] = decay * state.get("square", 0.0) + (1 - decay) * gradient**2
    corrected = state["square"] / (1 - decay ** state["n"])
    return value - lr * gradient / (corrected.sqrt() + 1e-8)


def reference_path(weights, batches, n_updates, *, adam):
    """Parameters, gradients and losses along the path of one task."""
    current, states = [w.detach() for w in weights], [{} for _ in weights]
    path = []
    for number, (x, y) in enumerate(batches):
        leaves = [w.clone().requires_grad_() for w in current]
        loss = reference_loss(leaves, x, y)
        gradients = torch.autograd.grad(loss, leaves)
        path.append((current, gradients, float(loss.detach())))
        if number < n_updates:
            current = [
                adam_step(state, w, g) if adam else w - 0.2 * g
                for state, w, g in zip(states, current, gradients, strict=True)
            ]
    return path, current


def reference_reptile(path, end):
    return [a - b for a, b in zip(path[0][0], end, strict=True)]


def reference_foml(path, end):
    return [a - b for a, b in zip(path[-1][0], end, strict=True)]


def reference_leap(path, end):
    del end
    total = [torch.zeros_like(w) for w in path[0][0]]
    for i in range(len(path) - 1):
        (before, gradients, loss), (after, _, next_loss) = path[i], path[i + 1]
        change = next_loss - loss
        if change > 0:
            change = -change
        squared = change**2 + sum(
            float((a - b).square().sum()) for a, b in zip(after, before, strict=True)
        )
        for k in range(len(total)):
            term = (before[k] - after[k]) - change * gradients[k]
            total[k] = total[k] + term / math.sqrt(squared)
    return total


RULES = {
    "reptile": (reptile, reference_reptile, 0),
    "foml": (foml, reference_foml, 0),
    "leap": (leap, reference_leap, 1),
}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("tail", [False, True], ids=["supports", "tail"])
@pytest.mark.parametrize("adam", [False, True], ids=["sgd", "adam"])
def test_update_equals_a_loop(name, tail, adam):
    build_rule, reference, n_extra = RULES[name]
    model = build_model()
    steps = 4
    options = {} if adam else {"optimizer": SGD}
    # Batches of all supports, in their order: no random numbers are needed.
    rule = build_rule(InnerTraining(steps=steps, batch=100, tail=tail, **options))
    before = [model.condition.rows, model.encoder[0].weight, model.encoder[0].bias]
    before = [w.detach().clone() for w in before]
    expected, losses = [torch.zeros_like(w) for w in before], []
    for number in range(2):
        episode, target = TASKS.batch(range(number, number + 1))
        support, query = ~episode.query, episode.query
        batches = [(episode.x[support], episode.y[support])] * (steps + n_extra)
        if tail:
            batches[steps - 1] = (episode.x[query], target)
        path, end = reference_path(before, batches, steps, adam=adam)
        losses += [loss for _, _, loss in path]
        expected = [
            total + part / 2 for total, part in zip(expected, reference(path, end), strict=True)
        ]
    (step,) = run(model, rule)
    after = [model.condition.rows, model.encoder[0].weight, model.encoder[0].bias]
    for old, new, gradient in zip(before, after, expected, strict=True):
        assert float(gradient.abs().max()) > 0
        torch.testing.assert_close(new.detach(), old - 0.5 * gradient, rtol=1e-10, atol=1e-12)
    assert step.loss == pytest.approx(sum(losses) / len(losses))


class RecordedLabels(TwoLayers):
    """Records the items of each batch."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def task_logits(self, encoder, parameters, task):
        self.batches.append(task.x[:, 0].tolist())
        return super().task_logits(encoder, parameters, task)


def test_batches_cycle_through_shuffled_supports():
    model = build_model()
    model.condition = RecordedLabels()
    run(model, reptile(InnerTraining(steps=7, batch=4, optimizer=SGD, tail=True)))
    batches = model.condition.batches
    assert len(batches) == 14
    episode, _ = TASKS.batch(range(1))
    supports = episode.x[~episode.query, 0].tolist()
    queries = episode.x[episode.query, 0].tolist()
    drawn = [value for batch in batches[:6] for value in batch]
    assert len(supports) == 9
    assert all(sorted(drawn[start : start + 9]) == sorted(supports) for start in (0, 9))
    assert drawn[:9] != drawn[9:18]
    assert batches[6] == queries


@pytest.mark.parametrize(
    ("name", "arguments"), [("maml", {"start": own_rows}), ("boil", {})], ids=["maml", "boil"]
)
def test_reptile_of_one_task_reaches_the_network_that_the_method_adapts(name, arguments):
    encoder = gf.backbones.conv4(width=3, size=16)
    model = gf.create(name, encoder=encoder, steps=2, step_size=0.3, way=WAY, **arguments).double()
    tasks = gf.Tasks(gf.data.digits(size=16), way=WAY, shot=3, query=4)
    episode, target = tasks.batch(range(1))
    episode = episode.to(torch.float64)

    class OneTask:
        def batch(self, indices):
            return episode, target

    expected = model(episode).logits.detach()
    inner = InnerTraining(steps=2, batch=100, optimizer=partial(torch.optim.SGD, lr=0.3))
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    list(
        gf.train(
            model,
            OneTask(),
            loss=gf.node_loss,
            update=reptile(inner),
            batch=1,
            steps=1,
            optimizer=optimizer,
        )
    )
    network = model.condition
    parameters = network.initial_parameters(model.encoder, episode.drop_queries())
    logits = network.task_logits(model.encoder, parameters, episode)[episode.query]
    torch.testing.assert_close(logits, expected)


@pytest.mark.parametrize("build_rule", [reptile, foml, leap])
def test_resumed_training_equals_uninterrupted_training(build_rule):
    whole, parts = build_model(), build_model()
    rule = build_rule(InnerTraining(steps=3, batch=4))
    scheduler = partial(torch.optim.lr_scheduler.LinearLR, end_factor=0.1, total_iters=5)
    run(whole, rule, 5, scheduler=scheduler)
    optimizer = torch.optim.SGD(parts.parameters(), lr=0.5)
    run(parts, rule, 2, optimizer=optimizer, scheduler=scheduler)
    run(parts, rule, 5, optimizer=optimizer, scheduler=scheduler, start=2)
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(a, b)


def test_explicit_default_rule_gives_the_same_weights():
    models = [gf.create("relation", encoder=gf.backbones.identity(4), seed=1) for _ in range(2)]
    for model, options in zip(models, ({}, {"update": query_loss_update}), strict=True):
        list(gf.train(model, Gaussians(), loss=gf.node_loss, batch=2, steps=3, **options))
    for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("build_rule", [reptile, foml, leap])
def test_training_improves_adapted_networks(build_rule, one_thread):
    model = build_model()
    tasks, test_tasks = NoisyGaussians(shot=5, dim=2), NoisyGaussians(query=5, dim=2, seed=9)

    def accuracy():
        hits = []
        with torch.no_grad():
            for number in range(40):
                episode, target = test_tasks.batch(range(number, number + 1))
                hits.append((model(episode).logits.argmax(1) == target).double().mean())
        return float(torch.stack(hits).mean())

    before = accuracy()
    rule = build_rule(InnerTraining(steps=5, batch=5, optimizer=SGD, tail=build_rule is foml))
    run(model, rule, 120, tasks, optimizer=torch.optim.Adam(model.parameters(), lr=0.05))
    assert accuracy() > before + 0.08


def test_rules_reject_other_methods_and_options():
    model = gf.create("relation", encoder=gf.backbones.identity(4))
    with pytest.raises(InvalidInputError, match="such as maml, but got relation"):
        run(model, reptile(), tasks=Gaussians())
    with pytest.raises(InvalidInputError, match=r"does not support precision=torch\.bfloat16"):
        gf.train(model, TASKS, loss=gf.node_loss, update=reptile(), precision=torch.bfloat16)
    with pytest.raises(InvalidInputError, match="does not support feedback"):
        gf.train(
            model, TASKS, loss=gf.node_loss, update=leap(), feedback=lambda indices, losses: None
        )


@pytest.mark.parametrize(("name", "width"), [("cavia", 4), ("boil", None), ("meta_sgd", None)])
def test_rules_reject_methods_without_trainable_initial_parameters(name, width):
    """A context starts from zeros, and `identity` has no weights: training would change nothing."""
    encoder = gf.backbones.identity(N_FEATURES)
    if width is not None:
        encoder = nn.Linear(N_FEATURES, width)
    arguments = {} if name == "meta_sgd" else {"way": WAY}
    model = gf.create(name, encoder=encoder, dim=width or N_FEATURES, **arguments)
    with pytest.raises(InvalidInputError, match="none of them is trainable"):
        run(model.double(), reptile())


class TwoProcesses:
    """A process group that is never used."""

    rank, size = 0, 2

    def sum(self, value):
        return value

    def gather(self, value):
        return [value, value]


def test_rules_reject_several_processes():
    with pytest.raises(InvalidInputError, match="does not support 2 processes"):
        gf.train(
            build_model(),
            TASKS,
            loss=gf.node_loss,
            update=foml(),
            process_group=TwoProcesses(),
        )


@pytest.mark.parametrize("change", [{"steps": 0}, {"batch": 0}, {"steps": 1, "tail": True}])
def test_invalid_inner_training_is_rejected(change):
    with pytest.raises(InvalidInputError, match="InnerTraining got"):
        InnerTraining(**change)


def test_diverging_inner_training_stops_before_the_update():
    model = build_model()
    before = [weight.detach().clone() for weight in model.parameters()]
    huge = partial(torch.optim.SGD, lr=1e308)
    with pytest.raises(FloatingPointError, match=r"learning rate of 1e\+308, the loss of a batch"):
        run(model, reptile(InnerTraining(steps=5, optimizer=huge)))
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
