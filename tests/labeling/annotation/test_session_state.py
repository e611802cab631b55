"""The state of an annotation as a function of its log."""

import random

import pytest

from graphfew.errors import InvalidInputError
from graphfew.labeling.annotation.action_checks import check_action, check_class_name
from graphfew.labeling.annotation.actions import (
    Action,
    AddClass,
    LabelItems,
    LogEntry,
    MergeClass,
    RejectItem,
    RenameClass,
    SkipItem,
    Undo,
)
from graphfew.labeling.annotation.session_state import (
    SessionState,
    apply_entry,
    replay,
    start_session,
)

ITEMS = tuple("abcdefgh")
START = start_session(ITEMS, ("cat", None, "dog", None, None, None, None, None))


def apply(state: SessionState, *actions: Action, annotator: str = "me") -> SessionState:
    for action in actions:
        state = apply_entry(state, LogEntry(state.last_number + 1, "", annotator, action))
    return state


def content(state: SessionState) -> tuple[object, ...]:
    return state.labels, state.classes, state.conflicts, state.assigned, state.not_of_class


def test_labels_of_the_source_are_the_start():
    assert START.labels == {"a": "cat", "c": "dog"}
    assert START.classes == ("cat", "dog")


def test_label_of_a_new_name_adds_a_class_that_disappears_with_it():
    state = apply(START, LabelItems(("b",), "cow"))
    assert state.classes == ("cat", "dog", "cow")
    assert content(apply(state, Undo(1))) == content(START)


def test_none_of_these_is_a_decision_without_class():
    state = apply(START, RejectItem("b"))
    assert state.assigned["b"] is None
    assert "b" not in state.labels


def test_informed_label_replaces_and_its_undo_restores():
    state = apply(START, LabelItems(("a",), "dog", seen=0))
    assert state.labels["a"] == "dog"
    assert state.conflicts == ()
    assert apply(state, Undo(1)).labels["a"] == "cat"


def test_uninformed_label_is_a_conflict_that_keeps_the_first():
    state = apply(START, LabelItems(("b",), "cat"))
    state = apply(state, LabelItems(("b",), "dog", seen=0), annotator="you")
    assert state.labels["b"] == "cat"
    assert state.conflicts == ("b",)
    resolved = apply(state, LabelItems(("b",), "dog", seen=2), annotator="third")
    assert resolved.conflicts == ()
    assert resolved.labels["b"] == "dog"
    assert apply(state, Undo(1)).labels["b"] == "dog"


def test_uninformed_equal_label_is_no_conflict():
    state = apply(START, LabelItems(("b",), "cat"))
    assert apply(state, LabelItems(("b",), "cat", seen=0), annotator="you").conflicts == ()


def test_second_label_of_the_same_page_is_a_correction():
    state = apply(START, LabelItems(("b",), "cat"), LabelItems(("b",), "dog", seen=0))
    assert state.conflicts == ()
    assert state.labels["b"] == "dog"


def test_grid_labels_many_and_excludes_the_wrong_ones():
    state = apply(START, LabelItems(("b", "d"), "cat", rejected=("e",)))
    assert state.labels["b"] == state.labels["d"] == "cat"
    assert state.not_of_class == {("e", 0)}
    assert content(apply(state, Undo(1))) == content(START)


def test_rename_keeps_the_items_and_the_number():
    state = apply(START, RenameClass("cat", "kitty"), LabelItems(("b",), "kitty"))
    assert state.labels == {"a": "kitty", "c": "dog", "b": "kitty"}
    assert apply(state, Undo(1)).labels["b"] == "cat"


def test_old_name_of_a_renamed_class_is_free():
    state = apply(START, RenameClass("cat", "kitty"), LabelItems(("b",), "cat"))
    assert state.classes == ("kitty", "dog", "cat")
    with pytest.raises(InvalidInputError, match="same name"):
        check_action(state, Undo(1), ITEMS)


def test_merge_moves_items_and_exclusions():
    state = apply(START, LabelItems((), "cat", rejected=("e",)), MergeClass("cat", "dog"))
    assert state.classes == ("dog",)
    assert state.labels["a"] == "dog"
    assert state.not_of_class == {("e", 1)}
    assert apply(state, Undo(2)).labels["a"] == "cat"


def test_merge_makes_labels_of_a_conflict_equal():
    state = apply(START, LabelItems(("b",), "cat"))
    state = apply(state, LabelItems(("b",), "dog", seen=0), annotator="you")
    assert apply(state, MergeClass("cat", "dog")).conflicts == ()


def test_added_class_stays_without_items():
    state = apply(START, AddClass("cow"))
    assert state.classes == ("cat", "dog", "cow")
    assert apply(state, Undo(1)).classes == ("cat", "dog")


def test_last_entry_is_that_of_the_annotator():
    state = apply(START, SkipItem("b"))
    state = apply(state, SkipItem("d"), annotator="you")
    last = state.last_entry_of("me")
    assert last is not None
    assert last.action == SkipItem("b")
    assert apply(state, Undo(1)).last_entry_of("me") is None


@pytest.mark.parametrize("seed", range(8))
def test_replay_equals_single_steps_and_undoing_all_equals_the_start(seed):
    generator = random.Random(seed)
    state, entries = START, []
    for number in range(1, 60):
        action = random_action(generator, state)
        try:
            check_action(state, action, ITEMS)
        except InvalidInputError:
            action = SkipItem("b")
        entries.append(LogEntry(number, "", generator.choice("xyz"), action))
        state = apply_entry(state, entries[-1])
    assert content(replay(START, entries)) == content(state)
    for target in sorted(state.entries, reverse=True):
        state = apply(state, Undo(target))
    assert content(state) == content(START)


def random_action(generator: random.Random, state: SessionState) -> Action:
    item, name = generator.choice(ITEMS), generator.choice(["cat", "dog", "cow", "ant", "bee"])
    seen = generator.randrange(state.last_number + 1)
    actions = [
        LabelItems((item,), name, seen),
        LabelItems(tuple(generator.sample(ITEMS, 2)), name, seen, (item,)),
        RejectItem(item, seen),
        AddClass(name),
        RenameClass(name, generator.choice(["elk", "fox"])),
        MergeClass(name, generator.choice(["cat", "dog"])),
        Undo(generator.randrange(state.last_number + 1)),
    ]
    return generator.choice(actions)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (LabelItems(("z",), "cat"), "no item 'z'"),
        (LabelItems(("a",), "cat", rejected=("z",)), "no item 'z'"),
        (LabelItems(("a",), ""), "needs a name"),
        (RejectItem("z"), "no item"),
        (SkipItem("z"), "no item"),
        (AddClass("cat"), "already"),
        (RenameClass("cow", "x"), "no class 'cow'"),
        (RenameClass("cat", "dog"), "already"),
        (MergeClass("cat", "cat"), "itself"),
        (MergeClass("cat", "cow"), "no class 'cow'"),
        (Undo(1), "nothing to undo"),
    ],
)
def test_action_that_does_not_fit_is_rejected(action, message):
    with pytest.raises(InvalidInputError, match=message):
        check_action(START, action, ITEMS)


@pytest.mark.parametrize(
    "name", ["", " cat", "cat\n", "a\nb", "\x00", "x" * 201, "-1", "None", "?"]
)
def test_class_name_is_rejected(name):
    with pytest.raises(InvalidInputError):
        check_class_name(name)


@pytest.mark.parametrize("name", ["cat", "Katze 🐈", "a, b", "1", "<b>"])
def test_class_name_is_accepted(name):
    check_class_name(name)


def test_renaming_to_a_class_that_the_source_got_later_merges():
    renaming = LogEntry(1, "", "me", RenameClass("cat", "dog"))
    later = start_session(ITEMS, ("cat", None, "dog", None, None, None, None, None))
    state = replay(later, [renaming])
    assert state.labels == {"a": "dog", "c": "dog"}
    assert state.classes == ("dog",)
    check_action(state, Undo(1), ITEMS)
    assert content(apply(state, Undo(1))) == content(later)
