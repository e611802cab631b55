"""An annotation in progress: who sees which item, and what survives a restart."""

import threading

import pytest
import torch

from graphfew.errors import InvalidInputError
from graphfew.labeling.annotation.actions import AddClass, LabelItems, RejectItem, SkipItem
from graphfew.labeling.annotation.background import BackgroundTasks
from graphfew.labeling.annotation.event_log import EventLog, describe_items
from graphfew.labeling.annotation.leases import LEASE_SECONDS, Leases
from graphfew.labeling.annotation.map_layout import layout_items
from graphfew.labeling.annotation.predictions import ModelProbs
from graphfew.labeling.annotation.refinement import refine_model, refine_queue, suggest_items
from graphfew.labeling.annotation.service import AnnotationService
from graphfew.labeling.annotation.submissions import submit_class, submit_label
from tests.labeling.annotation.conftest import N_ITEMS, make_items


def label(service, annotator, item, name=None, seen=None):
    seen = service.snapshot().state.last_number if seen is None else seen
    name = name or f"class {item % 3}"
    is_check = service.is_check(annotator, item)
    return service.submit(
        annotator, LabelItems((service.items.names[item],), name, seen, is_check=is_check)
    )


def label_next(service, annotator, n=1):
    for _ in range(n):
        choice = service.next_item(annotator)
        label(service, annotator, choice.item)


def test_pages_get_different_items_and_a_reload_the_same(make_service):
    service = make_service()
    mine, yours = service.next_item("me"), service.next_item("you")
    assert mine.item != yours.item
    assert service.next_item("me").item == mine.item


def test_labeled_item_is_not_shown_again(make_service):
    service = make_service()
    seen = set()
    for _ in range(60):
        choice = service.next_item("me")
        assert choice.item not in seen
        seen.add(choice.item)
        label(service, "me", choice.item)
    assert service.next_item("me") is None
    assert service.snapshot().progress.n_labeled == 60


def test_last_items_on_another_page_are_not_offered(make_service):
    service = make_service()
    label_next(service, "me", 59)
    last = service.next_item("me")
    assert service.next_item("you") is None
    label(service, "me", last.item)


def test_skipped_items_come_last_and_undo_brings_one_back(make_service):
    service = make_service(check_every=0)
    first = service.next_item("me").item
    service.submit("me", SkipItem(service.items.names[first]))
    assert service.next_item("me").item != first
    assert service.snapshot().progress.n_skipped == 1
    label_next(service, "me", 59)
    assert service.next_item("me").item == first
    label(service, "me", first)
    assert service.snapshot().progress.n_skipped == 0


def test_every_fifth_item_is_drawn_at_random(make_service):
    service = make_service(check_every=5)
    label_next(service, "me", 40)
    progress = service.snapshot().progress
    assert progress.n_checks == 8
    assert progress.accuracy.n_checks == 8
    assert progress.accuracy.mean == 1.0
    assert make_service("other", check_every=0).next_item("me").is_check is False


def test_rejected_item_of_the_draw_counts_as_wrong(make_service):
    service = make_service(check_every=1)
    label_next(service, "me", 5)
    item = service.next_item("me").item
    service.submit("me", RejectItem(service.items.names[item], 5, service.is_check("me", item)))
    accuracy = service.snapshot().progress.accuracy
    assert (accuracy.n_checks, service.snapshot().progress.n_rejected) == (6, 1)
    assert accuracy.mean < 1


def test_predictions_follow_labels(make_service):
    service = make_service()
    for item in range(3):
        label(service, "me", item)
    state, predictions = service.snapshot().state, service.snapshot().predictions
    for item in range(60):
        class_id, probability = predictions.likely(item, 1)[0]
        assert state.class_names[class_id] == f"class {item % 3}"
        assert probability > 0.5


def test_restart_continues_with_the_same_labels_and_scores(make_service):
    service = make_service(check_every=3)
    label_next(service, "me", 12)
    service.undo("me")
    service.submit("me", AddClass("empty"))
    before = service.snapshot()
    after = make_service(check_every=3).snapshot()
    assert after.state.labels == before.state.labels
    assert after.state.classes == before.state.classes
    assert after.progress == before.progress
    torch.testing.assert_close(
        after.predictions.scores.sums, before.predictions.scores.sums, atol=1e-5, rtol=1e-4
    )


def test_undo_is_that_of_the_page_and_shows_the_item_again(make_service):
    service = make_service(check_every=0)
    mine = service.next_item("me").item
    label(service, "me", mine)
    label_next(service, "you", 1)
    service.undo("me")
    assert service.items.names[mine] not in service.snapshot().state.labels
    assert service.snapshot().progress.n_labeled == 1
    assert service.next_item("me").item == mine
    with pytest.raises(InvalidInputError, match="nothing to undo on this page"):
        service.undo("me")


def test_second_label_of_an_item_is_a_conflict(make_service):
    service = make_service()
    label(service, "me", 7, "cat", seen=0)
    label(service, "you", 7, "dog", seen=0)
    snapshot = service.snapshot()
    assert snapshot.conflicts == (7,)
    assert snapshot.progress.n_conflicts == 1
    assert snapshot.state.labels["item 7"] == "cat"


def test_invalid_action_changes_nothing(make_service):
    service = make_service()
    before = service.snapshot()
    with pytest.raises(InvalidInputError):
        service.submit("me", LabelItems(("item 0",), ""))
    assert service.snapshot() is before
    assert make_service().snapshot().state.last_number == 0


def test_grid_has_predicted_items_of_one_class_for_one_page(make_service):
    service = make_service()
    for item in range(3):
        label(service, "me", item)
    grid = service.next_grid("me", 0, 12)
    assert len(grid) == 12
    assert all(item % 3 == 0 for item in grid)
    assert set(grid).isdisjoint(service.next_grid("you", 0, 12))
    assert service.next_grid("me", 99, 12) == []
    wrong = grid[0]
    names = service.items.names
    service.submit(
        "me", LabelItems(tuple(names[i] for i in grid[1:]), "class 0", 3, (names[wrong],))
    )
    assert service.snapshot().progress.n_labeled == 14
    assert wrong not in service.next_grid("me", 0, 60)


def test_labels_of_many_threads_are_all_recorded(make_service):
    service = make_service()
    errors = []

    def work(annotator):
        try:
            for _ in range(10):
                choice = service.next_item(annotator)
                label(service, annotator, choice.item)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(f"page {k}",)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert service.snapshot().progress.n_labeled == 40
    assert service.snapshot().conflicts == ()
    assert make_service().snapshot().state.labels == service.snapshot().state.labels


def test_leases_end():
    now = [0.0]
    leases = Leases(lambda: now[0])
    leases.take([1, 2], "me", on_grid=True)
    assert not leases.is_free(1, "you")
    now[0] = LEASE_SECONDS + 1
    assert leases.is_free(1, "you")
    assert leases.of("me") == {}


def test_suggestions_are_undecided_and_fill_the_queue(make_service):
    service = make_service(check_every=0)
    refine_queue(service)()
    first = service.next_item("me").item
    assert first == suggest_items(service.item_graph, service.snapshot())[0]
    label_next(service, "me", 6)
    service.submit("me", RejectItem("item 50", 6))
    suggested = suggest_items(service.item_graph, service.snapshot(), 60)
    assert set(suggested).isdisjoint(service.snapshot().decided)
    assert len(suggested) == 60 - len(service.snapshot().decided)
    label_all(service)
    assert suggest_items(service.item_graph, service.snapshot()) == []


def label_all(service):
    while (choice := service.next_item("me")) is not None:
        label(service, "me", choice.item)


def test_ensemble_is_fitted_after_enough_new_labels(make_service):
    service = make_service()
    task = refine_model(service)
    label_next(service, "me", 3)
    task()
    assert service.snapshot().predictions.model is None
    label_next(service, "me", 6)
    task()
    model = service.snapshot().predictions.model
    assert isinstance(model, ModelProbs)
    assert model.n_labels == 9
    assert service.snapshot().predictions.model is model
    task()
    assert service.snapshot().predictions.model is model


def test_background_tasks_survive_an_error():
    reached, errors = threading.Event(), []

    def fail():
        raise ValueError("no")

    tasks = BackgroundTasks([fail, reached.set], errors.append)
    tasks.notify()
    assert reached.wait(10)
    assert tasks.wait(10.0)
    assert [str(error) for error in errors] == ["no"]
    tasks.stop()


def test_map_places_clusters_apart(items, item_graph):
    positions = torch.from_numpy(
        layout_items(items.features, item_graph.topology, item_graph.weights, n_steps=60)
    )
    assert positions.shape == (60, 2)
    assert float(positions.min()) >= 0
    assert float(positions.max()) <= 1
    distance = torch.cdist(positions, positions) + 9 * torch.eye(60)
    nearest = distance.argmin(1)
    assert float((nearest % 3 == torch.arange(60) % 3).float().mean()) > 0.9


def test_stop_waits_for_the_current_task():
    started, may_end = threading.Event(), threading.Event()

    def task():
        started.set()
        may_end.wait(10)

    tasks = BackgroundTasks([task], print)
    tasks.notify()
    assert started.wait(10)
    assert not tasks.stop(0.01)
    may_end.set()
    assert tasks.stop(10.0)


def test_classes_of_the_source_are_named_as_browsers_send_them(item_graph, tmp_path):
    items = make_items(("two\nlines", "two  blanks", *[None] * (N_ITEMS - 2)))
    with EventLog(tmp_path / "log", describe_items("items.csv", items.names)) as log:
        service = AnnotationService(items, log, item_graph)
        form = {"item": ["5"], "seen": ["0"], "label": ["two\r\nlines"]}
        submit_label(service, "me", form)
        assert service.snapshot().state.labels["item 5"] == "two\nlines"
        merge = {"change": ["merge"], "name": ["two\r\nlines"], "into": ["two blanks"]}
        submit_class(service, "me", merge)
        assert service.snapshot().state.classes == ("two  blanks",)
        with pytest.raises(InvalidInputError, match="invisible character"):
            submit_label(service, "me", {**form, "label": ["new\r\nname"]})
