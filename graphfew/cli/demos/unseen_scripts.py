"""Second part of the demo: 5-way episodes of scripts that no model was trained on."""

from __future__ import annotations

import dataclasses

from torch import nn

from graphfew._utils.seeding import seeded
from graphfew.cli.demos.stage_progress import Advance
from graphfew.cli.demos.step_decay_training import fit
from graphfew.data.dataset import Dataset
from graphfew.data.encode import encode
from graphfew.data.query_sampling import varied
from graphfew.data.tasks import Tasks
from graphfew.evaluation.accuracy import Result, evaluate
from graphfew.methods.registry import create
from graphfew.nn.method import GraphMethod
from graphfew.serialization.checkpoint import load

WAY = 5
N_QUERIES = 5
HIDDEN_CHANNELS = 256
PRETRAINED = "pretrained on Omniglot"
ADAPTED = "adapted to printed glyphs"
PROTOTYPES, EGNN = "prototypes", "EGNN, transductive"


@dataclasses.dataclass(frozen=True)
class EpisodeResult:
    """Accuracy of one model at one shot.

    Attributes:
        training: what the model was trained on.
        method: title of the method.
        shot: labeled items per class.
        result: accuracy over the tasks.
    """

    training: str
    method: str
    shot: int
    result: Result


def pretrained_models() -> dict[str, GraphMethod]:
    """The pretrained prototypes and EGNN of the library, for encoded items.

    Both checkpoints hold the same encoder weights, so the difference between them is that between
    the two methods.
    """
    return {
        PROTOTYPES: load("prototypical-omniglot").on_features(),
        EGNN: load("egnn-omniglot").on_features(),
    }


def encode_images(images: Dataset) -> Dataset:
    """Features of the pretrained encoder."""
    return encode(images, load("prototypical-omniglot").encoder, progress=False)


def select_classes(dataset: Dataset, n_classes: int | None) -> Dataset:
    """The first classes of a data set, or all of them."""
    if n_classes is None:
        return dataset
    # The first classes, so the remaining labels need no renumbering.
    mask = dataset.y < n_classes
    return dataclasses.replace(
        dataset,
        x=dataset.x[mask],
        y=dataset.y[mask],
        classes=dataset.classes[:n_classes],
        groups=dataset.groups[:n_classes],
        metadata={name: values[mask] for name, values in dataset.metadata.items()},
    )


def train_head(glyphs: Dataset, n_steps: int, seed: int, advance: Advance) -> GraphMethod:
    """Prototypes over an MLP head on the frozen encoder, trained on encoded glyphs."""
    channels = glyphs.x.shape[1]
    # Modules draw their weights from the global generator, which `seeded` restores.
    with seeded(seed):
        head = nn.Sequential(
            nn.Linear(channels, HIDDEN_CHANNELS), nn.ReLU(), nn.Linear(HIDDEN_CHANNELS, channels)
        )
    prototypes = create("prototypical", encoder=head, dim=channels, seed=seed)
    # Training with more ways than at test time helps prototypes (Snell et al., 2017).
    tasks = Tasks(glyphs, way=20, shot=1, query=N_QUERIES, seed=seed)
    fit(prototypes, tasks, n_steps, batch=4, lr=3e-3, n_stages=3, seed=seed, advance=advance)
    return prototypes


def train_egnn(
    prototypes: GraphMethod, glyphs: Dataset, n_steps: int, seed: int, advance: Advance
) -> GraphMethod:
    """EGNN layers over the frozen head of `prototypes`, trained on the same encoded glyphs."""
    head = prototypes.encoder
    egnn = create("egnn", encoder=head, dim=glyphs.x.shape[1], seed=seed)
    # Encoded once: the head stays fixed while the EGNN layers are trained.
    features = encode(glyphs, head, progress=False)
    tasks = Tasks(features, way=WAY, shot=1, query=varied((1, 30)), seed=seed + 1)
    fit(
        egnn.on_features(),
        tasks,
        n_steps,
        batch=24,
        lr=1e-3,
        n_stages=3,
        seed=seed,
        advance=advance,
    )
    return egnn


def episode_tasks(dataset: Dataset, shot: int, seed: int) -> Tasks:
    """The test tasks; images and their features give the same tasks."""
    return Tasks(dataset, way=WAY, shot=shot, query=N_QUERIES, seed=seed + 2)


def evaluate_models(
    training: str,
    models: dict[str, GraphMethod],
    glyphs: Dataset,
    *,
    shot: int,
    n_tasks: int,
    seed: int,
    advance: Advance,
) -> list[EpisodeResult]:
    """Accuracy of every model on the same tasks of encoded test glyphs."""
    tasks = episode_tasks(glyphs, shot, seed)
    results = []
    for title, model in models.items():
        result = evaluate(model, tasks, n_tasks)
        results.append(EpisodeResult(training, title, shot, result))
        advance(f"{title}, {shot}-shot")
    return results
