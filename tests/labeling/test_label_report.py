"""The report of `graphfew label`, and the label errors that it lists."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

import graphfew as gf
from graphfew.labeling import label_conflicts
from graphfew.labeling.active.item_graph import build_item_graph
from graphfew.labeling.label_conflicts import find_label_conflicts
from graphfew.labeling.label_sources import LabelSource
from graphfew.labeling.report_content import report_content
from graphfew.labeling.report_page import render_report, write_report

pytestmark = pytest.mark.usefixtures("one_thread")
EVIL = "<script>alert('x')</script>\" onload=1 &amp;"


def blobs(n=30, seed=0):
    """Features `[3 n, 2]` of three clusters, and their classes."""
    rng = np.random.default_rng(seed)
    centers = np.array([[0.0, 0], [6, 0], [0, 6]])
    y = np.repeat(np.arange(3), n)
    return (centers[y] + rng.normal(size=(3 * n, 2)) * 0.5).astype(np.float32), y


def given(y, n, wrong=()):
    """Labels of the first `n` items of each class, some of them wrong."""
    labels = np.full(len(y), -1)
    for c in range(3):
        labels[np.flatnonzero(y == c)[:n]] = c
    for row in wrong:
        labels[row] = (y[row] + 1) % 3
    return labels


@pytest.mark.parametrize("wrong", [[], [1], [2, 31, 62]])
def test_wrong_labels_are_found(wrong):
    x, y = blobs()
    found = find_label_conflicts(
        build_item_graph(torch.from_numpy(x)), torch.from_numpy(given(y, 5, wrong))
    )
    assert sorted(found.items.tolist()) == wrong
    assert found.other_class.tolist() == [y[row] for row in found.items]
    assert found.n_checked == 15


def test_left_out_labels_are_exact():
    x, y = blobs(8)
    graph, labels = build_item_graph(torch.from_numpy(x).double()), given(y, 3, [1])
    found = find_label_conflicts(graph, torch.from_numpy(labels))
    n = len(x)
    weights = np.zeros((n, n))
    senders, receivers = graph.topology.senders, graph.topology.receivers
    weights[receivers, senders] = graph.weights[:, 0]
    degree = weights.sum(1)
    spread = np.linalg.inv(
        np.eye(n) - label_conflicts.ALPHA * weights / np.sqrt(np.outer(degree, degree))
    )
    shares = {}
    for row in np.flatnonzero(labels >= 0):
        scores = np.zeros(3)
        for c in range(3):
            others = [j for j in np.flatnonzero(labels == c) if j != row]
            scores[c] = spread[row, others].sum() / len(others)
        scores /= scores.sum()
        if scores.argmax() != labels[row] and scores.max() > 0.5:
            shares[int(row)] = scores.max()
    assert dict(zip(found.items.tolist(), found.other_prob, strict=True)) == pytest.approx(
        shares, abs=1e-4
    )


def test_single_labels_are_not_checked_and_many_are_sampled(monkeypatch):
    x, y = blobs()
    graph = build_item_graph(torch.from_numpy(x))
    assert find_label_conflicts(graph, torch.from_numpy(given(y, 1))).n_checked == 0
    monkeypatch.setattr(label_conflicts, "MAX_CHECKED", 7)
    assert find_label_conflicts(graph, torch.from_numpy(given(y, 5))).n_checked == 7


def labeled(kind, items, x, labels, names=None):
    classes = ("<b>cat</b>", "dog", "cow")
    texts = tuple(None if label < 0 else classes[label] for label in labels)
    names = names or tuple(map(str, range(len(x))))
    source = LabelSource(names, items, kind, texts, origin="photos & more", description=EVIL)
    return gf.labeling.label_items(source, x, gf.FewShotClassifier())


@pytest.fixture(scope="module")
def texts():
    x, y = blobs()
    labels = given(y, 5, [1])
    return labeled("text", tuple(f"{EVIL} {i}" for i in range(90)), x, labels), x


def test_content(texts):
    table, x = texts
    content = report_content(table, x)
    assert sum(count.n_items for count in content.classes) == 90
    assert [count.n_given for count in content.classes] != [0, 0, 0]
    confidence = [table.confidence[item.row] for item in content.least_confident]
    assert confidence == sorted(table.confidence[table.is_predicted])[:24]
    similarity = [table.similarity[item.row] for item in content.unlike_classes]
    assert similarity == sorted(table.similarity[~table.is_given])[:24]
    assert [item.row for item in content.conflicts] == [1]
    assert content.conflicts[0].label == "given: dog"
    assert content.conflicts[0].notes[0].startswith("neighbors: <b>cat</b> ")
    assert len(content.suggestions) == 12
    assert not table.is_given[[item.row for item in content.suggestions]].any()


def test_page_is_escaped_and_needs_no_network(texts, tmp_path):
    table, x = texts
    write_report(table, x, tmp_path / "a.html", "tfidf")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "<b>cat" not in page
    assert "&lt;b&gt;cat&lt;/b&gt;" in page
    assert "&lt;script&gt;alert(" in page
    assert "&amp;amp;" in page
    assert "onload=1" not in re.sub(r"&#34; onload=1", "", page)
    assert not re.search(r"(https?:)?//|url\(|@import|<link", page)
    assert "default-src 'none'" in page
    assert "encoder tfidf" in page
    for title in ("What to label next", "Possible label errors", "Least confident", "Unlike every"):
        assert title in page


def test_images_are_thumbnails_in_the_page(tmp_path):
    x, y = blobs(4)
    paths = [tmp_path / f"{i}.png" for i in range(len(x))]
    for i, path in enumerate(paths):
        Image.new("RGB", (400, 300), (i * 20, 0, 0)).save(path)
    # A file that has vanished since: its name is shown.
    paths[5].unlink()
    table = labeled("image", tuple(paths), x, given(y, 1))
    page = render_report(report_content(table, x))
    assert page.count("data:image/jpeg;base64,") > 10
    assert len(page) < 200_000


def test_everything_given_and_features(tmp_path):
    x, y = blobs(4)
    page = render_report(report_content(labeled("features", x, x, y), x))
    assert "data:image" not in page
    assert "None among 12 labels that were checked" in page
