"""Runs of two drawers, and the archive of the published ones, with a small archive of its form."""

import io
import re
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from graphfew.cli import app
from graphfew.core.episode import UNKNOWN
from graphfew.data import Dataset, DrawerRuns, omniglot_runs
from graphfew.data.class_overlap import share_classes
from graphfew.errors import DatasetError, DatasetNotFoundError, InvalidInputError


def png(run, character, is_query):
    pixels = np.ones((28, 28), dtype=bool)
    pixels[run, character + is_query] = False
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write(path, n_runs=20):
    with zipfile.ZipFile(path, "w") as archive:
        for run in range(1, n_runs + 1):
            folder = f"run{run:02d}"
            lines = []
            for item in range(1, 21):
                character = (item + 6) % 20 + 1
                query = f"{folder}/test/item{item:02d}.png"
                reference = f"{folder}/training/class{character:02d}.png"
                archive.writestr(query, png(run, character, True))
                archive.writestr(reference, png(run, character, False))
                lines.append(f"{query} {reference}")
            archive.writestr(f"{folder}/class_labels.txt", "\n".join(lines))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    write(folder / "all_runs.zip")
    return folder


def drawings(n_groups=2, n_classes=4, n_drawers=3):
    n = n_groups * n_classes * n_drawers
    return Dataset(
        "drawings",
        "all",
        torch.arange(n, dtype=torch.float32)[:, None],
        torch.arange(n_groups * n_classes).repeat_interleave(n_drawers),
        tuple(f"{k}" for k in range(n_groups * n_classes)),
        tuple(f"{k // n_classes}" for k in range(n_groups * n_classes)),
        {"drawer": torch.arange(1, n_drawers + 1).repeat(n_groups * n_classes)},
    )


def test_archive_is_read_by_its_lists_of_labels(root):
    data = omniglot_runs(root, progress=False)
    assert len(data) == 800
    assert len(data.classes) == 400
    assert data.classes[27] == "run02/class08"
    reference, query = data.x[54, 0], data.x[55, 0]
    assert reference.nonzero().tolist() == [[2, 8]]
    assert query.nonzero().tolist() == [[2, 9]]


def test_published_runs_are_the_groups(root):
    runs = DrawerRuns(omniglot_runs(root, progress=False), fixed_roles=True)
    assert len(list(runs)) == 20
    for number in (0, 19):
        episode, target = runs[number]
        assert episode.way == (20,)
        references = episode.x[episode.y >= 0, 0]
        queries = episode.x[episode.query, 0]
        for query, label in zip(queries, target.tolist(), strict=True):
            assert query.nonzero().tolist()[0][0] == number + 1
            assert torch.equal(references[label].roll(1, 1), query)


def test_one_drawer_has_the_references_and_another_the_queries():
    data = drawings()
    runs = DrawerRuns(data, way=3, seed=5)
    seen = set()
    for number in range(8):
        draw = runs.draw(number)
        drawers = data.metadata["drawer"].numpy()[draw.items]
        (reference,), (query,) = set(drawers[draw.role == 0]), set(drawers[draw.role == 2])
        assert reference != query
        seen.add((int(reference), int(query)))
        assert {data.groups[k] for k in draw.classes} == {str(number % 2)}
        assert np.array_equal(draw.classes[draw.label], data.y.numpy()[draw.items])
    assert len(seen) > 2
    episode, target = runs.batch(range(3))
    again, _ = DrawerRuns(data, way=3, seed=5).batch(range(3))
    assert torch.equal(episode.x, again.x)
    assert (episode.y[episode.query] == UNKNOWN).all()
    assert len(target) == 9
    assert "another for queries" in runs.describe()["drawers"]


def test_invalid_runs_are_rejected(root, tmp_path):
    with pytest.raises(InvalidInputError, match="the largest group has 4 classes"):
        DrawerRuns(drawings())
    with pytest.raises(InvalidInputError, match="no metadata 'drawer'"):
        DrawerRuns(Dataset("points", "all", torch.zeros(1, 1), torch.tensor([0]), ("a",)))
    with pytest.raises(IndexError, match="there are 20 runs"):
        DrawerRuns(omniglot_runs(root, progress=False), fixed_roles=True)[20]
    with pytest.raises(DatasetNotFoundError, match=r"has no all_runs.zip"):
        omniglot_runs(tmp_path)
    write(tmp_path / "all_runs.zip", n_runs=3)
    with pytest.raises(DatasetError, match="has 3 runs"):
        omniglot_runs(tmp_path, progress=False)
    (tmp_path / "all_runs.zip").write_bytes(b"PK")
    with pytest.raises(DatasetError, match="is damaged"):
        omniglot_runs(tmp_path, progress=False)


def test_runs_have_the_classes_of_the_evaluation_alphabets():
    assert share_classes("omniglot/evaluation", "omniglot-runs/test")
    assert share_classes("omniglot/train", "omniglot-runs/test")
    assert not share_classes("omniglot/small1", "omniglot-runs/test")


def test_command_evaluates_the_runs_and_states_the_drawers(root, capsys):
    arguments = ["evaluate", "prototypical-omniglot", "--data", "omniglot-runs"]
    options = ["--root", str(root), "--tasks", "2", "--allow-seen-classes"]
    with pytest.raises(SystemExit) as stop:
        app([*arguments, *options])
    assert stop.value.code == 0
    output = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert "omniglot-runs/test, 20-way 1-shot" in output
    assert "drawers: published" in output
    with pytest.raises(SystemExit) as stop:
        app([*arguments, *options, "--shot", "5"])
    assert stop.value.code != 0
    assert "omit it" in capsys.readouterr().err
