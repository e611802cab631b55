"""Specs: what is read, and that every wrong one gives one line which names file, line and key."""

import pytest
from small_specs import DRAW, HEAD, ROWS, SMALL, TRAIN, spec, written

from graphfew.benchmark import read_spec
from graphfew.benchmark.toml_lines import line_of, places
from graphfew.benchmark.training_config import RESERVED, option_types
from graphfew.data import Dataset
from graphfew.runs import Schedule, TrainConfig


def test_what_a_spec_says_is_read(tmp_path):
    read = spec(tmp_path)
    assert (read.name, read.title, read.compare_with, read.seed, read.batch) == (
        "small",
        "Glyphs, very little",
        "proto",
        0,
        2,
    )
    assert (read.source.name, read.source.train, read.source.validate, read.source.test) == (
        "glyphs",
        "train",
        "val",
        "test",
    )
    (training,) = read.trainings
    config = training.config(1)
    assert config == TrainConfig(
        "prototypical",
        "glyphs",
        encoder_arguments={"width": 4},
        schedule=Schedule(
            steps=4, batch=2, seed=1, validate_every=2, validate_tasks=4, save_every=1
        ),
    )
    assert training.seeds == (0, 1)
    assert [str(draw) for draw in read.draws] == [
        "3-way 1-shot, queries balanced(2)",
        "5-way 1-shot, queries balanced(2)",
    ]
    first, second = read.rows
    assert (first.train, first.method, first.modes, first.drop) == (
        "proto",
        "prototypical",
        (None,),
        (False,),
    )
    assert (second.on, second.method, second.modes) == ("proto", "label_propagation", (False, True))
    assert [second.takes(draw) for draw in read.draws] == [False, True]


def test_draws_are_every_combination_of_their_lists(tmp_path):
    text = (
        HEAD
        + TRAIN
        + """
[[draw]]
way = [5, "5-10"]
shot = [1, 5]
query = ["1-2", "dirichlet:20:2.0", "single"]
tasks = 7
[[draw]]
labeled_ratio = 0.5
shot = 4
unlabeled = 2
distractors = 1
[[row]]
method = "label_propagation"
on = "proto"
"""
    )
    draws = spec(tmp_path, text).draws
    assert len(draws) == 13
    assert [draw.count for draw in draws] == [7] * 12 + [4]
    assert str(draws[11]) == "5-10-way 5-shot, queries single"
    assert (
        str(draws[12])
        == "5-way 4-shot, queries balanced(5), 2 unlabeled per class, 1 distractors, labeled 0.5"
    )
    assert [draw.has_unlabeled for draw in draws] == [False] * 12 + [True]


def test_every_option_of_a_training_may_be_given():
    flat = set(TrainConfig("egnn", "glyphs").to_options())
    assert set(option_types()) == flat - set(RESERVED)


def test_numbers_may_stand_where_the_configuration_wants_text(tmp_path):
    text = SMALL.replace(
        "steps = 4\n", "steps = 4\nway = 3\nquery = 2\nlabeled_ratio = 0.5\nshot = 2\nlr = 1\n"
    ).replace('"prototypical"', '"soft_k_means"')
    config = spec(tmp_path, text).trainings[0].config(0)
    assert (config.way, config.query, config.labeled_ratio, config.schedule.lr) == (
        "3",
        "2",
        "0.5",
        1.0,
    )


def test_a_training_may_start_from_an_earlier_one(tmp_path):
    text = (
        HEAD
        + TRAIN
        + """
[[train]]
name = "second"
method = "relation"
encoder_arguments = { width = 4 }
start = "proto"
seeds = 1
freeze_encoder = true
"""
        + DRAW
        + '[[row]]\ntrain = "second"\n'
    )
    training = spec(tmp_path, text).training("second")
    assert training.start == "proto"
    assert training.config(1, "there").init_encoder == "there"


def refused(folder, text):
    path = written(folder, text)
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        read_spec(path)
    message = str(caught.value)
    assert message.count("\n") == 0
    return message.removeprefix(f"{path}, ")


def change(old, new):
    assert SMALL.count(old) == 1, old
    return SMALL.replace(old, new)


def line(text, part):
    """The number of the line that a part of a text stands in."""
    return text[: text.index(part)].count("\n") + 1


CHANGES = [
    (
        'title = "Glyphs, very little"',
        "titel = 1",
        "titel",
        ["no key 'titel'", "did you mean 'title'"],
    ),
    ('title = "Glyphs, very little"', "title = 3", "title", ["title", "is 3", "give text"]),
    ('name = "small"', 'name = "a/b"', "name", ["name is 'a/b'", "letters"]),
    ('name = "small"', "color = 1", "color", ["no key 'color'", "known: about"]),
    ('name = "glyphs"', 'name = "glyph"', 'name = "glyph"', ["'glyph'", "did you mean 'glyphs'"]),
    ('name = "glyphs"', "", "[data]", ["[data] lacks the key 'name'"]),
    (
        'name = "glyphs"',
        'name = "glyphs"\narguments = { sizes = 3 }',
        "arguments",
        ["no argument 'sizes'", "size"],
    ),
    ("[data]", "[date]", "[date]", ["no key 'date'", "'data'"]),
    (
        "tasks = 4\nbatch = 2\n\n",
        "tasks = 1\n\n",
        "tasks = 1",
        ["tasks in [test] is 1", "at least 2"],
    ),
    (
        "tasks = 4\nbatch = 2\n\n",
        "tasks = true\n\n",
        "tasks = true",
        ["tasks in [test] is True", "a whole number"],
    ),
    (
        "tasks = 4\nbatch = 2\n\n",
        "batch = 2.5\n\n",
        "batch = 2.5",
        ["batch in [test] is 2.5", "a whole number"],
    ),
    (
        "steps = 4",
        "stepps = 4",
        "stepps",
        ["[[train]] has no key 'stepps'", "did you mean 'steps'"],
    ),
    ("steps = 4", 'steps = "many"', "steps", ["steps in [[train]] is 'many'", "a whole number"]),
    ("steps = 4", "steps = true", "steps", ["steps in [[train]] is True", "a whole number"]),
    ("steps = 4", "steps = -1", "steps", ["steps is -1", "at least 0"]),
    ("steps = 4", "steps = 4\nseed = 1", "seed = 1", ["no key 'seed'", "did you mean 'seeds'"]),
    ("steps = 4", 'steps = 4\nlr = "fast"', "lr", ["lr in [[train]] is 'fast'", "a number"]),
    (
        "steps = 4",
        "steps = 4\nwithin_groups = 1",
        "within_groups",
        ["within_groups", "true or false"],
    ),
    (
        "steps = 4",
        'steps = 4\nquery = "lots"',
        "query",
        ["cannot read the queries 'lots'", "known forms"],
    ),
    ("steps = 4", 'steps = 4\nloss = "nods"', "loss", ["no loss is called 'nods'"]),
    ("steps = 4", 'steps = 4\nvalidate = "test"', 'validate = "test"', ["validate is 'test'"]),
    (
        "steps = 4",
        'steps = 4\nsplit = "test"',
        "split",
        ["split is 'test' of glyphs", "know the test's items"],
    ),
    ("steps = 4", 'steps = 4\nencoder = "conv5"', "encoder = ", ["unknown backbone 'conv5'"]),
    (
        "steps = 4",
        'steps = 4\ndata = "mnist"',
        "data = ",
        ["data in [[train]] is 'mnist'", "known:"],
    ),
    ("steps = 4", "steps = 4\nfreeze_encoder = true", "freeze_encoder", ["freeze_encoder"]),
    ("steps = 4", 'steps = 4\nstart = "proto"', "start", ["no earlier [[train]]"]),
    (
        "steps = 4",
        "steps = 4\narguments = { lairs = 1 }",
        "arguments = { l",
        ["no argument 'lairs'"],
    ),
    (
        "steps = 4",
        'steps = 4\narguments = { metric = "l7" }',
        "arguments = { m",
        ["no metric is called 'l7'"],
    ),
    ("{ width = 4 }", "{ widht = 4 }", "encoder_arguments", ["conv4", "widht"]),
    ("{ width = 4 }", "4", "encoder_arguments", ["encoder_arguments in [[train]] is 4", "a table"]),
    ("{ width = 4 }", "{ width = 1979-05-27 }", "encoder_arguments", ["1979", "lists or tables"]),
    (
        'method = "prototypical"',
        'method = "prototypcal"',
        "method",
        ["did you mean 'prototypical'"],
    ),
    ('method = "prototypical"', "", "[[train]]", ["[[train]] lacks the key 'method'"]),
    (
        'method = "prototypical"',
        'method = "gnn"\nway = "5-10"',
        "way = ",
        ["one number of classes"],
    ),
    ("seeds = [0, 1]", "seeds = [0, 0]", "seeds", ["seeds in [[train]] is [0, 0]", "once"]),
    ("seeds = [0, 1]", "seeds = []", "seeds", ["an empty list"]),
    ("seeds = [0, 1]", "seeds = [0, -1]", "seeds", ["[0, -1]", "0 or more"]),
    ("way = [3, 5]", "way = [3, 1]", "way", ["way is 1", "at least 2"]),
    ("way = [3, 5]", "way = [3, 0.5]", "way", ["way is 0.5", "a whole number"]),
    ("way = [3, 5]", "ways = 5", "ways", ["[[draw]] has no key 'ways'", "did you mean 'way'"]),
    (
        "way = [3, 5]",
        "way = 5\nlabeled_ratio = 2",
        "labeled_ratio",
        ["labeled_ratio is 2", "at most 1"],
    ),
    ("way = [3, 5]", "way = 5\nlabel_noise = 1", "label_noise", ["label_noise is 1", "below 1"]),
    (
        "way = [3, 5]",
        "way = 5\nwithin_groups = 1",
        "within_groups",
        ["within_groups is 1", "true or false"],
    ),
    (
        "query = 2",
        'query = "dirichlet:x"',
        "query",
        ["cannot read the queries 'dirichlet:x'", "known forms"],
    ),
    ("query = 2", "query = 2\ntasks = 0", "tasks = 0", ["tasks in [[draw]] is 0", "at least 2"]),
    ("[[draw]]", "[draw]", "draw", ["draw must be an array of tables", "[[draw]]"]),
    (
        '[[row]]\ntrain = "proto"',
        '[[row]]\ntrain = "prot"',
        'train = "prot"',
        ["no [[train]] is called so", "'proto'"],
    ),
    (
        '[[row]]\ntrain = "proto"',
        '[[row]]\ntrain = "proto"\nmethod = "tim"',
        "[[row]]",
        ["either train", "or method"],
    ),
    (
        '[[row]]\ntrain = "proto"',
        '[[row]]\ntrain = "proto"\nmode = "transductive"',
        "mode =",
        ["inductive only"],
    ),
    (
        '[[row]]\ntrain = "proto"',
        '[[row]]\ntrain = "proto"\nmode = "deductive"',
        "mode =",
        ["mode", "inductive"],
    ),
    (
        '[[row]]\ntrain = "proto"',
        '[[row]]\ntrain = "proto"\narguments = {}',
        "arguments = {}",
        ["[[train]] 'proto'"],
    ),
    (
        '[[row]]\ntrain = "proto"',
        '[[row]]\ntrain = "proto"\nassumes = "odd"',
        "assumes",
        ["assumes", "known: even"],
    ),
    (
        '[[row]]\ntrain = "proto"',
        '[[row]]\ntrain = "proto"\ndrop_unlabeled = 1',
        "drop",
        ["drop_unlabeled", "true"],
    ),
    (
        '[[row]]\ntrain = "proto"',
        '[[row]]\ntrain = "proto"\nonly = { way = 7 }',
        "only",
        ["leaves none of the draws"],
    ),
    (
        '[[row]]\ntrain = "proto"',
        '[[row]]\ntrain = "proto"\nonly = { weigh = 7 }',
        "only",
        ["no key 'weigh'"],
    ),
    (
        'name = "propagation"',
        'name = "proto"',
        'name = "proto"\nmethod = "label',
        ["two entries of [[row]]"],
    ),
    (
        'method = "label_propagation"',
        'method = "egnn"',
        'method = "egnn"',
        ["must be trained", "steps = 0"],
    ),
    (
        'method = "label_propagation"',
        'method = "label_propagation"\narguments = { beta = 1 }',
        "arguments = { b",
        ["no argument 'beta'"],
    ),
    ("only = { way = 5 }", "only = 5", "only", ["only in [[row]] is 5", "a table"]),
]


@pytest.mark.parametrize(
    ("old", "new", "at", "words"), CHANGES, ids=[f"{new[:30]!r}" for _, new, _, _ in CHANGES]
)
def test_a_wrong_spec_gives_one_line_with_its_place(tmp_path, old, new, at, words):
    text = change(old, new)
    message = refused(tmp_path, text)
    assert message.startswith(f"line {line(text, at)}: "), message
    assert [word for word in words if word not in message] == [], message


@pytest.mark.parametrize(
    ("text", "number", "words"),
    [
        ('name = "small"\n[data\nname = 1\n', 2, ["this is no TOML"]),
        ('name = "small"\nname = "again"\n', 2, ["this is no TOML", "overwrite"]),
        ('name = "small"\ntitle = """\nnever ends\n', 4, ["this is no TOML"]),
        (HEAD + TRAIN + ROWS, 1, ["has no [[draw]]"]),
        (HEAD + TRAIN + DRAW, 1, ["has no [[row]]"]),
        ('name = "small"\n' + DRAW, 1, ["lacks the key 'data'"]),
        (HEAD + TRAIN + TRAIN + DRAW + ROWS, 23, ["two entries of [[train]] are called 'proto'"]),
        (
            'compare_with = "protto"\n' + SMALL,
            1,
            ["compare_with is 'protto'", "did you mean 'proto'"],
        ),
    ],
)
def test_a_spec_that_is_none_gives_one_line(tmp_path, text, number, words):
    message = refused(tmp_path, text)
    assert message.startswith(f"line {number}: "), message
    assert [word for word in words if word not in message] == [], message


def test_a_file_that_is_not_there_or_no_text(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no spec .*nowhere\.toml"):
        read_spec(tmp_path / "nowhere.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"binary\.toml, line 1: this is no text in UTF-8"):
        read_spec(tmp_path / "binary.toml")


def test_methods_are_refused_tasks_that_they_are_not_made_for(tmp_path):
    fixed = SMALL.replace('method = "prototypical"', 'method = "gnn"\nway = 5')
    assert "was trained for way 5 and [[draw]] asks for 3; add only = { way = [5] }" in refused(
        tmp_path, fixed
    )
    unlabeled = SMALL.replace("query = 2", "query = 2\nunlabeled = 2")
    assert "makes no use of unlabeled items" in refused(tmp_path, unlabeled)
    spec(tmp_path, unlabeled.replace('train = "proto"', 'train = "proto"\ndrop_unlabeled = true'))


def test_entries_of_one_name_are_one_row_where_their_draws_differ(tmp_path):
    text = SMALL.replace('train = "proto"', 'train = "proto"\nonly = { way = 3 }').replace(
        '"propagation"', '"proto"'
    )
    assert [row.name for row in spec(tmp_path, text).rows] == ["proto", "proto"]
    spec(
        tmp_path,
        SMALL
        + '[[row]]\nname = "propagation"\nmethod = "pt_map"\non = "proto"\nonly = { way = 3 }\n',
    )
    message = refused(
        tmp_path,
        SMALL + '[[row]]\nname = "propagation"\nmethod = "pt_map"\non = "proto"\n'
        'mode = "transductive"\n',
    )
    assert "both tested on 5-way 1-shot" in message


def test_starts_need_a_seed_to_start_from(tmp_path):
    second = """
[[train]]
name = "second"
method = "prototypical"
encoder_arguments = { width = 4 }
start = "proto"
seeds = [0, 5]
"""
    message = refused(tmp_path, HEAD + TRAIN + second + DRAW + ROWS)
    assert "has seed 5 and starts from 'proto', which has seeds [0, 1]" in message
    assert message.startswith(f"line {line(HEAD + TRAIN + second, 'start = ')}: ")


def test_a_way_beyond_the_classes_is_refused_with_the_line(tmp_path):
    text = change("way = [3, 5]", "way = [5, 500]")
    read = spec(tmp_path, text)
    items = read.source.load_test({})
    assert isinstance(items, Dataset)
    with pytest.raises(
        ValueError,
        match=f"small.toml, line {line(text, 'way = ')}: way is 500 but .* has 101 classes",
    ):
        read.draws[1].tasks(items, 0)


def test_the_line_of_every_key_is_found():
    text = '''# a comment with [brackets] and "quotes"
top = """
[not.a.table]
key = 1
"""   # [[nor this]]
[a."quoted key".c]   # comment
list = [ # [x]
  "]", '[', # ]
  3,
]
dotted . key = 1
[[many]]
x = { y = 1, z = [ { w = "}" } ] }
[many.below]
deep = \'\'\'two
lines\'\'\'
[[many]]
[many.below]
deep = 2
[[many.inner]]
last = "\\" # no comment"
'''
    assert dict(places(text)) == {
        ("top",): 2,
        ("a", "quoted key", "c"): 6,
        ("a", "quoted key", "c", "list"): 7,
        ("a", "quoted key", "c", "dotted", "key"): 11,
        ("many", 0): 12,
        ("many", 0, "x"): 13,
        ("many", 0, "below"): 14,
        ("many", 0, "below", "deep"): 15,
        ("many", 1): 17,
        ("many", 1, "below"): 18,
        ("many", 1, "below", "deep"): 19,
        ("many", 1, "inner", 0): 20,
        ("many", 1, "inner", 0, "last"): 21,
    }
    assert line_of(places(text), ("many", 0, "x", "y")) == 13
    assert line_of(places(text), ("nowhere",)) == 1
