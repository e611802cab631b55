"""The graph of an episode after each layer of a checkpoint, as one picture."""

from __future__ import annotations

from markupsafe import Markup

from graphfew.benchmark.report.svg import captioned, embedded_image, save_svg
from graphfew.data import Dataset, Tasks
from graphfew.errors import InvalidInputError
from graphfew.nn.eval_mode import eval_mode
from graphfew.nn.method import GraphMethod, device_of
from graphfew.visualization import plot_layers

MAX_NODES = 60


def plot_episode_layers(
    model: GraphMethod,
    data: Dataset,
    *,
    way: int = 5,
    shot: int = 1,
    query: int = 3,
    seed: int = 0,
    name: str = "the checkpoint",
) -> Markup:
    """Draw one task before the first layer and after each; darker edges mean "same class".

    Args:
        model: a method whose graphs hold whole tasks; it is evaluated in transductive mode.
        data: images `[M, 1 or 3, h, w]`; other items are drawn as boxes.
        way, shot, query: size of the task; queries per class.
        seed: of the task.
        name: of the model in the caption.

    Returns:
        A figure element.

    Raises:
        InvalidInputError: the method has no transductive mode or no layers, or the task is too
            large.
    """
    n_nodes = way * (shot + query)
    if n_nodes > MAX_NODES:
        raise InvalidInputError(
            f"the task has {n_nodes} items; at most {MAX_NODES} are legible, so reduce way, shot "
            "or query"
        )
    # Inductive graphs hold one query each, which shows little.
    model = model if model.transductive else model.in_mode(transductive=True)
    tasks = Tasks(data, way=way, shot=shot, query=query, seed=seed)
    episode, target = tasks.batch(range(1))
    with eval_mode(model):
        out = model(episode.to(device_of(model)))
    if len(out.graphs) < 2 or out.graphs[0].topology is None:
        raise InvalidInputError("the method has no graph layers; use a graph network such as egnn")
    is_image = episode.x.ndim == 4 and episode.x.shape[1] in (1, 3)
    figure = plot_layers(out, images=episode.x if is_image else None, target=target)
    n_correct = int((out.logits.argmax(1).cpu() == target).sum())
    caption = (
        f"An episode of {data.name}/{data.split} ({way}-way {shot}-shot, {query} queries per "
        f"class) in {name}, layer by layer; {n_correct} of {len(target)} queries are correct after "
        "the last layer"
    )
    description = f"{caption}. An edge is dark if the model predicts the same class."
    legend = (
        f"{caption}. Square frame, capital letter: labeled support; round frame, small letter: "
        "query and its prediction; ✗ X: wrong, the true class is X. Items of a class are adjacent "
        "on the circle."
    )
    picture = save_svg(figure, f"episode-{seed}")
    return captioned(embedded_image(picture, "svg+xml", description), legend)
