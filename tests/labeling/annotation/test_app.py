"""What the forms of the pages do."""

import csv
import io
import json

import numpy as np
import pytest

pytest.importorskip("starlette", reason="the extra annotate is not installed")
pytest.importorskip("httpx", reason="the test client of starlette needs httpx")

from starlette.testclient import TestClient

from graphfew.labeling.annotation.access import COOKIE, Access
from graphfew.labeling.annotation.app import create_app
from tests.labeling.annotation.conftest import field_of

ACCESS = Access("secret-token", 8421)
BASE = ACCESS.base
ME, YOU = "00000001", "00000002"


class Pages:
    """The pages of one annotation, as two tabs of one browser see them."""

    def __init__(self, service):
        app = create_app(service, ACCESS, "items", lambda: np.full((60, 2), 0.5))
        self.client = TestClient(app, base_url="http://127.0.0.1:8421")
        self.client.cookies.set(COOKIE, ACCESS.token, path=BASE)
        self.client.headers["Origin"] = "http://127.0.0.1:8421"

    def get(self, page, tab=ME):
        separator = "&" if "?" in page else "?"
        return self.client.get(f"{BASE}/{page}{separator}tab={tab}").text

    def post(self, page, tab=ME, status=200, **fields):
        response = self.client.post(f"{BASE}/{page}", data={"tab": tab, **fields})
        assert response.status_code == status, response.text
        return response.text

    def label(self, tab=ME, page=None, **fields):
        page = page or self.get("label", tab)
        fields = {"item": field_of(page, "item"), "seen": field_of(page, "seen"), **fields}
        return self.post("label", tab, **fields)

    def export(self, name="csv", query=""):
        return self.client.get(f"{BASE}/export/labels.{name}{query}").text


@pytest.fixture
def service(make_service):
    return make_service(check_every=0)


@pytest.fixture
def pages(service):
    return Pages(service)


def test_tab_gets_an_id_that_links_keep(pages):
    response = pages.client.get(f"{BASE}/label")
    tab = response.url.params["tab"]
    assert len(tab) == 8
    assert f"/confirm?tab={tab}" in response.text


def test_label_shows_the_next_item_and_the_last_label(pages):
    first = field_of(pages.get("label"), "item")
    after = pages.label(label="cat")
    assert field_of(after, "item") != first
    assert f"item {first}: cat" in after
    assert "<strong>1</strong> of 60" in after


def test_likely_classes_have_probabilities(pages, service):
    for _ in range(6):
        item = int(field_of(pages.get("label"), "item"))
        pages.label(label=f"class {item % 3}")
    page = pages.get("label")
    assert page.count('data-key="1"') == 1
    assert " %</span>" in page


def test_undo_none_and_skip(pages, service):
    first = field_of(pages.get("label"), "item")
    pages.label(label="cat")
    assert field_of(pages.post("label", decision="undo"), "item") == first
    assert service.snapshot().state.labels == {}
    pages.label(decision="none")
    assert service.snapshot().progress.n_rejected == 1
    pages.label(decision="skip")
    assert "1 skipped" in pages.get("label")


def test_errors_are_shown_on_the_page(pages, service):
    page = pages.get("label")
    item, seen = field_of(page, "item"), field_of(page, "seen")
    text = pages.post("label", status=400, item=item, seen=seen, label="  ")
    assert 'role="alert"' in text
    assert "needs a name" in text
    assert field_of(text, "item") == item
    assert "nothing to undo" in pages.post("label", status=400, decision="undo")
    assert "the decision" in pages.post("label", status=400, item=item, seen=seen, decision="fly")
    assert "no tab" in pages.post("label", status=400, tab="x")
    assert "the change" in pages.post("classes", status=400, change="fly")
    assert "no items" in pages.post("confirm", status=400, label="cat", seen="0")
    assert service.snapshot().state.last_number == 0


def test_entries_that_do_not_exist_cannot_have_been_seen(pages, service):
    assert "seen is" in pages.post("label", status=400, item="1", seen="1", label="cat")
    assert service.snapshot().state.last_number == 0


def test_repeated_item_of_a_grid_is_labeled_once(pages, service):
    pages.post("label", item="0", seen="0", label="cat")
    pages.post("confirm", label="cat", seen="1", item=["3", "3", "6"], wrong=["6"])
    assert [mark.number for mark in service.snapshot().state.history["item 3"]] == [2]


def test_connection_that_ends_within_a_form_is_no_crash(pages):
    import anyio
    from starlette.requests import Request

    from graphfew.errors import InvalidInputError
    from graphfew.labeling.annotation.forms import read_form

    async def receive():
        return {"type": "http.disconnect"}

    with pytest.raises(InvalidInputError, match="the connection ended"):
        anyio.run(read_form, Request({"type": "http", "method": "POST", "headers": []}, receive))


def test_names_of_classes_may_have_letters_that_join(pages, service):
    for name in ("می\u200cخواهم", "non\u00a0breaking", "👩\u200d🔬"):
        pages.post("classes", change="add", name=name)
    assert len(service.snapshot().state.classes) == 3
    assert "U+202E" in pages.post("classes", status=400, change="add", name="a\u202eb")
    assert "U+0000" in pages.post("classes", status=400, change="add", name="a\0b")


def test_random_item_stays_random_after_undo(make_service):
    service = make_service(check_every=1)
    pages = Pages(service)
    pages.label(label="cat")
    assert service.snapshot().progress.n_checks == 1
    page = pages.post("label", decision="undo")
    pages.label(page=page, label="dog")
    assert service.snapshot().progress.n_checks == 1


def test_full_disk_is_reported_and_nothing_is_labeled(pages, service, monkeypatch):
    import os

    def fail(descriptor):
        raise OSError(28, "No space left on device")

    page = pages.get("label")
    monkeypatch.setattr(os, "fsync", fail)
    fields = {"item": field_of(page, "item"), "seen": "0", "label": "cat"}
    assert "Not saved" in pages.post("label", status=500, **fields)
    assert service.snapshot().state.labels == {}


def test_two_tabs_have_different_items_and_conflicts_are_shown(pages, service):
    mine, yours = pages.get("label", ME), pages.get("label", YOU)
    item = field_of(mine, "item")
    assert field_of(yours, "item") != item
    pages.label(ME, mine, label="cat")
    pages.post("label", YOU, item=item, seen="0", label="dog")
    assert service.snapshot().state.labels[f"item {item}"] == "cat"
    review = pages.get("review")
    assert f"item={item}" in review
    assert 'aria-label="1 conflicts"' in review
    shown = pages.get(f"label?item={item}", YOU)
    assert "Conflict:" in shown
    pages.label(YOU, shown, label="dog")
    assert service.snapshot().conflicts == ()
    assert service.snapshot().state.labels[f"item {item}"] == "dog"


def test_chosen_item_shows_its_label_which_a_new_one_replaces(pages, service):
    pages.post("label", item="7", seen="0", label="cat")
    page = pages.get("label?item=7", YOU)
    assert "Labeled <strong>cat</strong>" in page
    pages.label(YOU, page, label="dog")
    assert service.snapshot().state.labels == {"item 7": "dog"}


def test_grid_labels_all_but_the_wrong_ones(pages, service):
    for item in range(3):
        pages.post("label", item=item, seen=item, label=f"class {item}")
    page = pages.get("confirm?class=1")
    assert page.count('type="checkbox"') == 19
    shown = [str(index) for index in range(4, 60, 3)]
    fields = {"seen": "3", "label": "class 1", "item": shown, "wrong": [shown[0]]}
    pages.post("confirm?class=1", **fields)
    assert service.snapshot().progress.n_labeled == 3 + 18
    assert "item 4" not in service.snapshot().state.labels
    pages.post("label", decision="undo", then="confirm")
    assert service.snapshot().progress.n_labeled == 3


def test_classes_are_added_renamed_merged_and_undone(pages, service):
    pages.post("classes", change="add", name="cat")
    pages.post("classes", change="add", name="dog")
    pages.post("classes", change="rename", name="cat", new_name="kitty")
    assert service.snapshot().state.classes == ("kitty", "dog")
    pages.post("classes", change="merge", name="dog", into="kitty")
    assert service.snapshot().state.classes == ("kitty",)
    assert "already" in pages.post("classes", status=400, change="add", name="kitty")
    page = pages.post("classes", change="undo", then="classes")
    assert service.snapshot().state.classes == ("kitty", "dog")
    assert "Rename or merge" in page


def test_map_has_all_items(pages, service):
    pages.label(label="cat")
    data = pages.client.get(f"{BASE}/map.json").json()
    assert len(data["positions"]) == len(data["classOf"]) == len(data["captions"]) == 60
    assert data["classes"] == {"0": "cat"}
    assert len(data["labeled"]) == 1
    assert "cat" in pages.get("map")


def test_export_before_during_and_after(pages, service):
    assert pages.export().splitlines()[0].startswith("item,label,confidence")
    pages.post("label", item="0", seen="0", label="cat")
    assert len(pages.export().splitlines()) == 2
    pages.post("label", item="1", seen="1", label="dog")
    pages.post("label", item="2", seen="2", decision="none")
    rows = list(csv.DictReader(io.StringIO(pages.export())))
    assert [row["item"] for row in rows] == list(service.items.names)
    assert [row["label"] for row in rows[:4]] == ["cat", "dog", "unknown", "cat"]
    assert [row["given"] for row in rows[:4]] == ["true", "true", "false", "false"]
    labeled = list(csv.DictReader(io.StringIO(pages.export(query="?labeled"))))
    assert [(row["item"], row["label"]) for row in labeled] == [
        ("item 0", "cat"),
        ("item 1", "dog"),
        ("item 2", "unknown"),
    ]
    lines = pages.export("jsonl", "?labeled").splitlines()
    assert json.loads(lines[0])["label"] == "cat"
    assert pages.client.get(f"{BASE}/export/labels.exe").status_code == 400


def test_last_page_offers_the_export(pages, service):
    for item in range(60):
        pages.post("label", item=item, seen=item, label=f"class {item % 3}")
    page = pages.get("label")
    assert "Every item is decided" in page
    assert "Export the labels" in page
    assert "Nothing to confirm" in pages.get("confirm")
