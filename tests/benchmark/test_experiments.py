"""Cells: which there are, and what their keys hang on and do not."""

import pytest
from small_specs import CELLS, DRAW, HEAD, ROWS, SMALL, TRAIN, spec

from graphfew.benchmark import list_experiments
from graphfew.benchmark.experiments import changed_options, hash_settings, to_finite
from graphfew.runs import TrainConfig


def keys(folder, text=SMALL, **given):
    return {cell.key for cell in list_experiments(spec(folder, text), **given)}


def test_a_cell_is_a_row_in_a_mode_on_a_draw_from_a_seed(tmp_path):
    found = list_experiments(spec(tmp_path))
    assert len(found) == CELLS
    assert [str(cell) for cell in found] == [
        "proto, seed 0: 3-way 1-shot, queries balanced(2)",
        "proto, seed 0: 5-way 1-shot, queries balanced(2)",
        "proto, seed 1: 3-way 1-shot, queries balanced(2)",
        "proto, seed 1: 5-way 1-shot, queries balanced(2)",
        "propagation, inductive, seed 0: 5-way 1-shot, queries balanced(2)",
        "propagation, transductive, seed 0: 5-way 1-shot, queries balanced(2)",
        "propagation, inductive, seed 1: 5-way 1-shot, queries balanced(2)",
        "propagation, transductive, seed 1: 5-way 1-shot, queries balanced(2)",
    ]
    assert len({cell.key for cell in found}) == CELLS
    assert {cell.count for cell in found} == {4}


def test_untrained_rows_have_no_seed(tmp_path):
    (cell,) = list_experiments(
        spec(tmp_path, HEAD + "[[tasks]]\n[[row]]\nmethod = 'label_propagation'\n")
    )
    assert cell.seed is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            'title = "Glyphs, very little"',
            'title = "Another"\nabout = "much"\ncompare_with = "propagation"',
        ),
        ('name = "small"', 'name = "large"'),
        ("[[row]]\n", '[[row]]\nmethod = "pt_map"\nencoder_from = "proto"\n[[row]]\n'),
        ("batch = 2\n\n[[train]]", "batch = 7\n\n[[train]]"),
        ("save_every = 1", "save_every = 3"),
        ("[[train]]", '[[train]]\nname = "other"\nmethod = "matching"\n[[train]]'),
        ("query = 2", 'query = "balanced:2"\nlabeled_ratio = 1\nunlabeled = 0'),
        ("steps = 4", 'steps = 4\nlr = 0.001\nway = "5"\nsplit = "train"'),
        ('name = "glyphs"', 'name = "glyphs"\narguments = { size = 28 }'),
        ("seeds = [0, 1]", "seeds = [1, 0, 2]"),
    ],
)
def test_what_changes_no_figure_changes_no_key(tmp_path, old, new):
    assert old in SMALL
    assert keys(tmp_path) <= keys(tmp_path, SMALL.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "kept"),
    [
        ("n_tasks = 4", "n_tasks = 5", 0),
        ("n_tasks = 4", "n_tasks = 4\nseed = 1", 0),
        ("steps = 4", "steps = 5", 0),
        ("steps = 4", "steps = 4\nlr = 0.01", 0),
        ("steps = 4", 'steps = 4\nsplit = "val"', 0),
        ("width = 4", "width = 5", 0),
        ('name = "glyphs"', 'name = "glyphs"\ntest_arguments = { seed = 1 }', 0),
        ("query = 2", 'query = "one-per-class"', 0),
        ("query = 2", "query = 2\ndistractors = 0\nlabel_noise = 0.1", 0),
        ("way = [3, 5]", "way = [4, 5]", 6),
        ("seeds = [0, 1]", "seeds = [0, 2]", 4),
        ('name = "propagation"', 'name = "renamed"', 4),
        ("label_propagation", "label_spreading", 4),
        ('encoder_from = "proto"', 'encoder_from = "proto"\narguments = { power = 0.5 }', 4),
        ('encoder_from = "proto"', 'encoder_from = "proto"\nassumes = "balanced"', 4),
        ('mode = ["inductive", "transductive"]', 'mode = "transductive"', 6),
    ],
)
def test_what_a_figure_hangs_on_changes_its_key(tmp_path, old, new, kept):
    assert old in SMALL
    assert len(keys(tmp_path) & keys(tmp_path, SMALL.replace(old, new, 1))) == kept


def test_saying_the_usual_mode_changes_no_key(tmp_path):
    said = keys(
        tmp_path, SMALL.replace('mode = ["inductive", "transductive"]', 'mode = "transductive"')
    )
    unsaid = keys(tmp_path, SMALL.replace('mode = ["inductive", "transductive"]', ""))
    assert said == unsaid


def test_fewer_tasks_have_their_own_keys(tmp_path):
    few = list_experiments(spec(tmp_path), max_tasks=3)
    assert {cell.count for cell in few} == {3}
    assert not {cell.key for cell in few} & keys(tmp_path)
    assert keys(tmp_path, max_tasks=1000) == keys(tmp_path)


def test_only_some_rows(tmp_path):
    read = spec(tmp_path)
    assert {cell.method.name for cell in list_experiments(read, rows=["propagation"])} == {
        "propagation"
    }
    with pytest.raises(ValueError, match="has no row 'nothing'; its rows are: proto, propagation"):
        list_experiments(read, rows=["nothing"])


def test_unlabeled_items_are_dropped_where_there_are_some(tmp_path):
    text = (
        HEAD
        + TRAIN
        + '[[tasks]]\nshot = 2\nlabeled_ratio = [0.5, 1]\n[[row]]\nencoder_from = "proto"\n'
    )
    text += 'method = "label_propagation"\ndrop_unlabeled = [false, true]\n'
    dropped = [
        (cell.tasks.labeled_ratio, cell.drop_unlabeled)
        for cell in list_experiments(spec(tmp_path, text))
    ]
    assert dropped == [((0.5,), False), ((1.0,), False), ((0.5,), True)] * 2


def test_a_key_hangs_on_every_training_behind_it(tmp_path):
    second = '\n[[train]]\nname = "second"\nmethod = "relation"\n'
    second += 'encoder_arguments = { width = 4 }\ninit_from = "proto"\n'
    text = HEAD + TRAIN + second + "seeds = 1\n" + DRAW + ROWS + '[[row]]\ntrain = "second"\n'
    read = spec(tmp_path, text)
    assert [(training.name, seed) for training, seed in read.training_chain("second", 1)] == [
        ("proto", 1),
        ("second", 1),
    ]
    own = {cell.key for cell in list_experiments(read, rows=["second"])}
    changed = {
        cell.key
        for cell in list_experiments(
            spec(tmp_path, text.replace("steps = 4", "steps = 5")), rows=["second"]
        )
    }
    assert len(own) == 2
    assert not own & changed


def test_options_that_are_the_defaults_are_left_out():
    placed = TrainConfig("egnn", "glyphs", root="here", device="cuda", init_encoder="there")
    assert changed_options(placed) == {"method": "egnn", "data": "glyphs"}
    assert changed_options(TrainConfig("egnn", "glyphs", shot="5"))["shot"] == "5"


def test_numbers_that_are_not_finite_become_text():
    assert to_finite({"a": (1, float("inf")), "b": {"c": -float("inf")}}) == {
        "a": [1, "inf"],
        "b": {"c": "-inf"},
    }
    assert hash_settings({"a": 1, "b": float("inf")}) == hash_settings({"b": float("inf"), "a": 1})
