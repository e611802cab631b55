"""Plots show the values they are given, and leave no figures behind in pyplot."""

import json

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib import pyplot
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox

import graphfew as gf
from graphfew.visualization._style import class_letter
from graphfew.visualization.confusion import count_predictions
from graphfew.visualization.curves import read_log

mpl.use("Agg")


@pytest.fixture(autouse=True)
def no_pyplot_figures():
    yield
    assert pyplot.get_fignums() == []


def episode(unlabeled=1):
    generator = torch.Generator().manual_seed(0)
    tasks = []
    for way, queries in ((3, 4), (2, 2)):
        y = torch.cat([torch.arange(way), torch.full((queries + unlabeled,), -1)])
        images = torch.rand(len(y), 1, 8, 8, generator=generator)
        tasks.append(gf.Episode.single(images, y, torch.arange(len(y)) >= way + unlabeled, way))
    return gf.collate(tasks)


BATCH = episode()
TARGET = torch.tensor([0, 1, 2, 1, 0, 1])


def output(batch=BATCH, name="egnn", **arguments):
    model = gf.create(name, encoder=torch.nn.Flatten(), dim=64, **arguments)
    with gf.nn.eval_mode(model):
        return model(batch)


def axes_texts(figure):
    """The non-empty texts of each axes."""
    figure.canvas.draw()
    return [[text.get_text() for text in ax.texts if text.get_text()] for ax in figure.axes]


def test_plot_graph_creates_a_figure():
    axes = gf.visualization.plot_graph(output().graphs[-1], 1)
    assert isinstance(axes.figure, Figure)
    assert axes.figure.axes == [axes]


def test_plot_layers_keeps_positions_of_nodes():
    out = output(width=8)
    figure = gf.visualization.plot_layers(out, 0, images=BATCH.x[:8], target=TARGET[:4])
    assert [ax.get_title() for ax in figure.axes] == [
        "before the first layer",
        "after layer 1",
        "after layer 2",
        "after layer 3",
    ]
    places = [
        [tuple(box.xy) for box in ax.artists if isinstance(box, AnnotationBbox)]
        for ax in figure.axes
    ]
    assert len(places[0]) == 8
    assert places.count(places[0]) == 4
    predicted = out.logits[:4].argmax(1)
    labels = [
        f"{'abc'[c]}" + ("" if c == t else f" ✗ {'ABC'[t]}")
        for c, t in zip(predicted, TARGET, strict=False)
    ]
    assert axes_texts(figure) == [["A", "B", "C"]] * 3 + [["A", "B", "C", *labels]]


def edge_opacity(ax):
    """The opacity of each edge."""
    return np.concatenate([np.zeros(0), *(c.get_colors()[:, 3] for c in ax.collections)])


def test_edge_opacity_follows_weights():
    out = output(width=8)
    figure = gf.visualization.plot_layers(out, 1)
    for ax, graph in zip(figure.axes, out.graphs, strict=True):
        net = gf.convert.to_networkx(graph, 1)
        weights = np.array([net.edges[edge]["weight"] for edge in net.edges])
        assert np.allclose(
            np.sort(edge_opacity(ax)), np.sort(0.85 * weights[weights > 0.06] ** 2), atol=1e-6
        )
    # One of ten pairs is of two support items with different labels, so its weight is 0.
    assert len(edge_opacity(figure.axes[0])) == 9


def test_max_weight_none_scales_by_the_largest_weight():
    out = output(name="label_propagation", transductive=True)
    graphs = tuple(graph.replace(edges=50 * graph.edges) for graph in out.graphs)
    figure = gf.visualization.plot_layers(gf.MethodOutput(out.logits, graphs), max_weight=None)
    assert max(edge_opacity(ax).max() for ax in figure.axes if ax.collections) == pytest.approx(
        0.85
    )


def test_class_nodes_are_not_drawn():
    out = output(episode(unlabeled=0), "prototypical")
    figure = gf.visualization.plot_layers(out, 1, target=TARGET[4:])
    assert axes_texts(figure)[0] == ["A", "B"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"images": BATCH.x}, "images has 13 rows and the task 8 items"),
        ({"target": TARGET}, "target has 6 rows and the task 4 queries"),
    ],
)
def test_plot_layers_rejects_values_of_another_task(options, message):
    with pytest.raises(ValueError, match=message):
        gf.visualization.plot_layers(output(), 0, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"images": BATCH.x}, "images has 13 rows and the task 8 items"),
        ({"predictions": TARGET}, "predictions has 6 rows and the task 4 queries"),
        ({"target": TARGET}, "target has 6 rows and the task 4 queries"),
    ],
)
def test_plot_graph_rejects_values_of_another_task(options, message):
    with pytest.raises(ValueError, match=message):
        gf.visualization.plot_graph(output().graphs[0], 0, **options)


PREDICTED = torch.tensor([0, 2, 2, 1, 1, 1])


def cells(ax, way):
    """The numbers in the cells, and the fractions that they are shaded by."""
    found = np.zeros((way, way), dtype=int)
    for text in ax.texts:
        column, row = text.get_position()
        found[row, column] = int(text.get_text())
    return found, np.asarray(ax.images[0].get_array())


def test_confusion_matrix_per_task():
    logits = torch.nn.functional.one_hot(PREDICTED, 3).float()
    figure = gf.visualization.plot_confusion_matrix(
        gf.MethodOutput(logits, output().graphs), TARGET
    )
    first, second = (cells(ax, way) for ax, way in zip(figure.axes, (3, 2), strict=False))
    assert first[0].tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 1]]
    assert first[1].tolist() == [[1, 0, 0], [0, 0.5, 0.5], [0, 0, 1]]
    assert second[0].tolist() == [[0, 1], [0, 1]]
    assert [ax.get_title() for ax in figure.axes] == [
        "task 0: 3 of 4 correct",
        "task 1: 1 of 2 correct",
    ]
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["A", "B", "C"]
    again = gf.visualization.plot_confusion_matrix(PREDICTED, TARGET, queries=(4, 2))
    assert np.array_equal(cells(again.axes[0], 3)[0], first[0])


def test_confusion_matrix_of_all_tasks_by_name():
    figure = gf.visualization.plot_confusion_matrix(
        PREDICTED, TARGET, queries=(4, 2), names=[["ant", "bee", "cow"], ["cow", "ant"]]
    )
    (ax,) = figure.axes
    assert [t.get_text() for t in ax.get_yticklabels()] == ["ant", "bee", "cow"]
    assert cells(ax, 3)[0].tolist() == [[2, 0, 0], [0, 1, 1], [1, 0, 1]]
    assert ax.get_title() == "2 tasks: 4 of 6 correct"
    flat = gf.visualization.plot_confusion_matrix(
        PREDICTED, TARGET, queries=(4, 2), names=["x", "y", "z"]
    )
    assert cells(flat.axes[0], 3)[0].tolist() == count_predictions(TARGET, PREDICTED, 3).tolist()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"queries": (4, 3)}, "6 predictions, 6 targets and 7 queries"),
        ({"names": ["x", "y"]}, "has a class 2 and names for 2"),
        ({"names": [["x", "y", "z"]] * 2}, "names for 2 tasks, and 1 tasks"),
    ],
)
def test_confusion_matrix_rejects_lengths_that_do_not_match(options, message):
    with pytest.raises(ValueError, match=message):
        gf.visualization.plot_confusion_matrix(PREDICTED, TARGET, **options)


def collections(figure):
    """The scatter plots by label."""
    return {c.get_label(): c for c in figure.axes[0].collections}


def test_projection_has_every_item_once():
    encoded = BATCH.encode(lambda x: x.flatten(1))
    figure = gf.visualization.plot_projection(
        encoded, 0, predictions=PREDICTED[:4], target=TARGET[:4], names=["ant", "bee", "cow"]
    )
    found = collections(figure)
    number = {name: len(c.get_offsets()) for name, c in found.items()}
    assert number == {
        "unlabeled": 1,
        "queries": 0,
        "correct 0": 1,
        "wrong 0": 0,
        "support 0": 1,
        "correct 1": 1,
        "wrong 1": 0,
        "support 1": 1,
        "correct 2": 1,
        "wrong 2": 1,
        "support 2": 1,
    }
    plane = np.concatenate([c.get_offsets() for c in found.values()])
    unit = encoded.x[:8].double().numpy()
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    values = np.linalg.svd(unit - unit.mean(0), compute_uv=False)
    assert np.allclose(np.linalg.norm(plane - plane.mean(0), axis=0), values[:2])
    assert not len(found["wrong 2"].get_facecolors())
    assert len(found["correct 2"].get_facecolors())
    assert axes_texts(figure) == [["A", "B", "C", "✗ B"]]
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert legend == [
        "A  ant",
        "B  bee",
        "C  cow",
        "labeled support",
        "query, by predicted class",
        "unlabeled",
        "✗ X: wrong, the true class is X",
    ]


def test_projection_without_predictions():
    encoded = BATCH.encode(lambda x: x.flatten(1))
    known = collections(gf.visualization.plot_projection(encoded, 1, target=TARGET[4:]))
    assert [len(known[f"correct {c}"].get_offsets()) for c in range(2)] == [1, 1]
    assert (
        len(collections(gf.visualization.plot_projection(encoded, 1))["queries"].get_offsets()) == 2
    )


def test_projection_of_a_graph_shows_its_nodes():
    out = output(width=8)
    before, after = (
        collections(gf.visualization.plot_projection(graph, 0))["support 0"].get_offsets()
        for graph in (out.graphs[0], out.graphs[-1])
    )
    assert not np.allclose(before, after)
    stars = output(episode(unlabeled=0), "prototypical").graphs[0]
    assert (
        sum(
            len(c.get_offsets())
            for c in collections(gf.visualization.plot_projection(stars, 1)).values()
        )
        == 4
    )


def test_labels_of_wrong_predictions_do_not_overlap():
    y = torch.tensor([0, 1, -1, -1, -1])
    x = torch.tensor([[1.0, 0], [0, 1], [0.5, 0.5], [0.5, 0.5], [0.5, 0.5]])
    task = gf.Episode.single(x, y, y < 0, 2)
    figure = gf.visualization.plot_projection(
        task, predictions=torch.tensor([0, 0, 0]), target=torch.tensor([1, 1, 1])
    )
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts if "✗" in text.get_text()]
    assert len(boxes) == 3
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (BATCH, {}, r"shape \(1, 8, 8\).*encoded episode"),
        (
            BATCH.encode(lambda x: x.flatten(1)),
            {"predictions": TARGET},
            "predictions has 6 entries and the task 4 queries",
        ),
        (BATCH.encode(lambda x: x.flatten(1)), {"names": ["x"]}, "1 names and 3 classes"),
    ],
)
def test_projection_rejects_values_that_do_not_match(source, options, message):
    with pytest.raises(ValueError, match=message):
        gf.visualization.plot_projection(source, 0, **options)


def write_log(folder, lines):
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


LINES = [
    {
        "step": step,
        "loss": None if step == 0 else 1 / step,
        "accuracy": None if step == 0 else step / 100,
        "validation_accuracy": step / 200,
        "validation_half_width": 0.01,
    }
    for step in (0, 10, 20)
]


def test_curves_show_the_log(tmp_path):
    run = write_log(tmp_path / "egnn", LINES)
    figure = gf.visualization.plot_training_curves(run)
    left, right = figure.axes
    validation, training = left.lines
    assert validation.get_xydata().tolist() == [[0, 0], [10, 5], [20, 10]]
    assert training.get_xydata().tolist() == [[10, 10], [20, 20]]
    assert right.lines[0].get_xydata().tolist() == [[10, 0.1], [20, 0.05]]
    (band,) = left.collections
    at_20 = sorted(y for x, y in band.get_paths()[0].vertices if x == 20)
    assert at_20[0] == pytest.approx(9)
    assert at_20[-1] == pytest.approx(11)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "egnn, validation (band: 95 % interval)",
        "egnn, training",
    ]


def test_runs_differ_without_color(tmp_path):
    runs = [write_log(tmp_path / place / "run", LINES) for place in "ab"]
    lines = gf.visualization.plot_training_curves(runs).axes[1].lines
    assert [line.get_label() for line in lines] == [str(run) for run in runs]
    assert (
        len({line.get_marker() for line in lines})
        == len({line.get_linestyle() for line in lines})
        == 2
    )
    named = (
        gf.visualization.plot_training_curves(
            {"first": runs[0] / "metrics.jsonl", "second": runs[1]}
        )
        .axes[1]
        .lines
    )
    assert [line.get_label() for line in named] == ["first", "second"]


def test_curves_of_a_run_of_graphfew_train(tmp_path):
    from typer.testing import CliRunner

    from graphfew.cli import app

    arguments = [
        "train",
        "prototypical",
        "--data",
        "glyphs",
        "--out",
        str(tmp_path / "run"),
        "--steps",
        "4",
        "--batch",
        "1",
        "--validate-every",
        "2",
        "--validate-tasks",
        "2",
        "--encoder-set",
        "width=4",
    ]
    found = CliRunner().invoke(app, arguments)
    assert found.exit_code == 0, found.output
    lines = read_log(tmp_path / "run")
    assert [line["step"] for line in lines] == [2, 4]
    assert gf.visualization.plot_training_curves(tmp_path / "run").axes[1].lines[
        0
    ].get_ydata().tolist() == [line["loss"] for line in lines]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no validation yet"),
        ("{", "cannot be"),
        ("[1]", "cannot be"),
        ('{"loss": 1}', "a line without step"),
        ('{"step": "x"}', "cannot be"),
    ],
)
def test_unreadable_logs_are_rejected(tmp_path, content, message):
    file = tmp_path / "metrics.jsonl"
    file.write_text(content)
    with pytest.raises(ValueError, match=message):
        gf.visualization.plot_training_curves(file)


def test_missing_logs_are_rejected(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"metrics\.jsonl; give the folder"):
        gf.visualization.plot_training_curves(tmp_path)
    with pytest.raises(ValueError, match="no runs"):
        gf.visualization.plot_training_curves([])


def test_class_letters_agree_in_all_plots():
    classes = torch.arange(28)
    figure = gf.visualization.plot_confusion_matrix(classes, classes)
    labels = [text.get_text() for text in figure.axes[0].get_xticklabels()]
    assert labels == [class_letter(c) for c in range(28)]
