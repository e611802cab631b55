"""Specs: what is read, and that every wrong one gives one line which names file, line and key."""

import pytest
from small_specs import DRAW, HEAD, ROWS, SMALL, TRAIN, spec, written

from graphfew.benchmark import load_spec
from graphfew.benchmark.method_config import needs_trained_weights
from graphfew.benchmark.training_config import RESERVED, TrainingConfig
from graphfew.benchmark.training_jobs import training_job
from graphfew.data import Dataset
from graphfew.runs import Schedule, TrainConfig


def test_what_a_spec_says_is_read(tmp_path):
    read = spec(tmp_path)
    assert (read.name, read.title, read.compare_with, read.test.seed, read.test.batch) == (
        "small",
        "Glyphs, very little",
        "proto",
        0,
        2,
    )
    assert (read.data.name, read.data.train, read.data.validation, read.data.test) == (
        "glyphs",
        "train",
        "val",
        "test",
    )
    (training,) = read.trainings
    config = read.train_config(training, 1)
    assert config == TrainConfig(
        "prototypical",
        "glyphs",
        encoder_arguments={"width": 4},
        schedule=Schedule(
            steps=4, batch=2, seed=1, validate_every=2, validate_tasks=4, save_every=1
        ),
    )
    assert training.seeds == (0, 1)
    assert [str(draw) for draw in read.tasks] == [
        "3-way 1-shot, queries balanced(2)",
        "5-way 1-shot, queries balanced(2)",
    ]
    first, second = read.methods
    assert (first.train, first.method, first.modes, first.drops) == (
        "proto",
        "prototypical",
        (None,),
        (False,),
    )
    assert (second.encoder_from, second.method, second.modes) == (
        "proto",
        "label_propagation",
        (False, True),
    )
    assert [second.only.matches(draw) for draw in read.tasks] == [False, True]


def test_draws_are_every_combination_of_their_lists(tmp_path):
    text = (
        HEAD
        + TRAIN
        + """
[[tasks]]
way = [5, "5-10"]
shot = [1, 5]
query = ["1-2", "dirichlet:20:2.0", "single"]
n_tasks = 7
[[tasks]]
labeled_ratio = 0.5
shot = 4
unlabeled = 2
distractors = 1
[[row]]
method = "label_propagation"
encoder_from = "proto"
"""
    )
    draws = spec(tmp_path, text).tasks
    assert len(draws) == 13
    assert [draw.n_tasks for draw in draws] == [7] * 12 + [4]
    assert str(draws[11]) == "5-10-way 5-shot, queries single"
    assert (
        str(draws[12])
        == "5-way 4-shot, queries balanced(5), 2 unlabeled per class, 1 distractors, labeled 0.5"
    )
    assert [draw.has_unlabeled for draw in draws] == [False] * 12 + [True]


def test_every_option_of_a_training_may_be_given():
    options = set(TrainConfig("egnn", "glyphs").to_options())
    keys = {field.alias or name for name, field in TrainingConfig.model_fields.items()}
    assert keys - {"name", "seeds", "init_from"} == options - set(RESERVED)


def test_numbers_may_stand_where_the_configuration_wants_text(tmp_path):
    text = SMALL.replace(
        "steps = 4\n", "steps = 4\nway = 3\nquery = 2\nlabeled_ratio = 0.5\nshot = 2\nlr = 1\n"
    ).replace('"prototypical"', '"soft_k_means"')
    read = spec(tmp_path, text)
    config = read.train_config(read.trainings[0], 0)
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
init_from = "proto"
seeds = 1
freeze_encoder = true
"""
        + DRAW
        + '[[row]]\ntrain = "second"\n'
    )
    read = spec(tmp_path, text)
    training = read.training("second")
    assert training.init_from == "proto"
    assert read.train_config(training, 1, "there").init_encoder == "there"


def refused(folder, text):
    path = written(folder, text)
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        load_spec(path)
    message = str(caught.value)
    assert message.count("\n") == 0
    return message.removeprefix(f"{path}: ")


def change(old, new):
    assert SMALL.count(old) == 1, old
    return SMALL.replace(old, new)


CHANGES = [
    ('title = "Glyphs, very little"', "titel = 1", "titel", ["did you mean 'title'"]),
    ('title = "Glyphs, very little"', "title = 3", "title", ["it must be a valid string"]),
    ('name = "small"', 'name = "a/b"', "name", ["String should match pattern '^[A-Za-z0-9_-]+$'"]),
    (
        'name = "small"',
        "color = 1",
        "color",
        ["expected one of: about, compare_with, data, kind, name, row, tasks, test, title, train"],
    ),
    ('name = "glyphs"', 'name = "glyph"', "data.name", ["'glyph'", "did you mean 'glyphs'"]),
    ('name = "glyphs"', "", "data.name", ["this key is required"]),
    (
        'name = "glyphs"',
        'name = "glyphs"\narguments = { sizes = 3 }',
        "data.arguments",
        ["no argument 'sizes'", "size"],
    ),
    ("[data]", "[date]", "date", ["'data'"]),
    (
        "n_tasks = 4\nbatch = 2\n\n",
        "n_tasks = 1\n\n",
        "test.n_tasks",
        ["it must be greater than or equal to 2"],
    ),
    (
        "n_tasks = 4\nbatch = 2\n\n",
        "n_tasks = true\n\n",
        "test.n_tasks",
        ["it must be a valid integer"],
    ),
    ("n_tasks = 4\nbatch = 2\n\n", "batch = 2.5\n\n", "test.batch", ["it must be a valid integer"]),
    ("steps = 4", "stepps = 4", "train[0].stepps", ["did you mean 'steps'"]),
    ("steps = 4", 'steps = "many"', "train[0].steps", ["it must be a valid integer"]),
    ("steps = 4", "steps = true", "train[0].steps", ["it must be a valid integer"]),
    ("steps = 4", "steps = -1", "train[0]", ["steps is -1", "at least 0"]),
    ("steps = 4", "steps = 4\nseed = 1", "train[0].seed", ["did you mean 'seeds'"]),
    ("steps = 4", 'steps = 4\nlr = "fast"', "train[0].lr", ["it must be a valid number"]),
    (
        "steps = 4",
        "steps = 4\nwithin_groups = 1",
        "train[0].within_groups",
        ["it must be a valid boolean"],
    ),
    (
        "steps = 4",
        'steps = 4\nquery = "lots"',
        "train[0]",
        ["cannot read the queries 'lots'", "known forms"],
    ),
    ("steps = 4", 'steps = 4\nloss = "nods"', "train[0]", ["loss is 'nods'", "node"]),
    ("steps = 4", 'steps = 4\nvalidate = "test"', "train[0]", ["validate is 'test'"]),
    ("steps = 4", 'steps = 4\nsplit = "test"', "train[0].split", ["choose another split"]),
    ("steps = 4", 'steps = 4\nencoder = "conv5"', "train[0]", ["unknown backbone 'conv5'"]),
    (
        "steps = 4",
        'steps = 4\ndata = "mnist"',
        "train[0].data",
        ["expected one of: cifar_fs, "],
    ),
    ("steps = 4", "steps = 4\nfreeze_encoder = true", "train[0]", ["freeze_encoder"]),
    (
        "steps = 4",
        'steps = 4\ninit_from = "proto"',
        "train[0].init_from",
        ["expected one of: egnn-omniglot, "],
    ),
    ("steps = 4", "steps = 4\narguments = { lairs = 1 }", "train[0]", ["no argument 'lairs'"]),
    (
        "steps = 4",
        'steps = 4\narguments = { metric = "l7" }',
        "train[0]",
        ["unknown metric 'l7'"],
    ),
    (
        "{ width = 4 }",
        "{ widht = 4 }",
        "train[0]",
        [
            "conv4",
            "widht",
            "conv4 cannot be built with {'widht': 4}",
        ],
    ),
    ("{ width = 4 }", "4", "train[0].encoder_arguments", ["it must be a valid dictionary"]),
    (
        "{ width = 4 }",
        "{ width = 1979-05-27 }",
        "train[0].encoder_arguments.width",
        ["1979", "input was not a valid JSON value"],
    ),
    (
        'method = "prototypical"',
        'method = "prototypcal"',
        "train[0].method",
        ["did you mean 'prototypical'"],
    ),
    ('method = "prototypical"', "", "train[0].method", ["this key is required"]),
    (
        'method = "prototypical"',
        'method = "gnn"\nway = "5-10"',
        "train[0]",
        ["one number of classes"],
    ),
    ("seeds = [0, 1]", "seeds = [0, 0]", "train[0].seeds", ["once", "give each seed once"]),
    (
        "seeds = [0, 1]",
        "seeds = []",
        "train[0].seeds",
        ["Value should have at least 1 item after validation, not 0"],
    ),
    (
        "seeds = [0, 1]",
        "seeds = [0, -1]",
        "train[0].seeds[1]",
        ["it must be greater than or equal to 0"],
    ),
    ("way = [3, 5]", "way = [3, 1]", "tasks[0].way[1]", ["at least 2"]),
    (
        "way = [3, 5]",
        "way = [3, 0.5]",
        "tasks[0].way[1]",
        ["pass an int or an inclusive range (low, high)"],
    ),
    ("way = [3, 5]", "ways = 5", "tasks[0].ways", ["did you mean 'way'"]),
    ("way = [3, 5]", "way = 5\nlabeled_ratio = 2", "tasks[0].labeled_ratio[0]", ["at most 1"]),
    (
        "way = [3, 5]",
        "way = 5\nlabel_noise = 1",
        "tasks[0].label_noise[0]",
        ["it must be less than 1"],
    ),
    (
        "way = [3, 5]",
        "way = 5\nwithin_groups = 1",
        "tasks[0].within_groups[0]",
        ["it must be a valid boolean"],
    ),
    (
        "query = 2",
        'query = "dirichlet:x"',
        "tasks[0].query[0]",
        ["cannot read the queries 'dirichlet:x'", "known forms"],
    ),
    (
        "query = 2",
        "query = 2\nn_tasks = 0",
        "tasks[0].n_tasks",
        ["it must be greater than or equal to 2"],
    ),
    (
        "[[tasks]]",
        "[tasks]",
        "tasks",
        ["give an array of tables, each under a header in double brackets"],
    ),
    ('[[row]]\ntrain = "proto"', '[[row]]\ntrain = "prot"', "row[0].train", ["'proto'"]),
    (
        '[[row]]\ntrain = "proto"',
        '[[row]]\ntrain = "proto"\nmethod = "tim"',
        "row[0]",
        ["either train", "or method"],
    ),
    (
        '[[row]]\ntrain = "proto"',
        '[[row]]\ntrain = "proto"\nmode = "transductive"',
        "row[0].mode",
        ["inductive only"],
    ),
    (
        '[[row]]\ntrain = "proto"',
        '[[row]]\ntrain = "proto"\nmode = "deductive"',
        "row[0].mode[0]",
        ["inductive"],
    ),
    (
        '[[row]]\ntrain = "proto"',
        '[[row]]\ntrain = "proto"\narguments = {}',
        "row[0]",
        ["[[train]] 'proto'"],
    ),
    (
        '[[row]]\ntrain = "proto"',
        '[[row]]\ntrain = "proto"\nassumes = "odd"',
        "row[0].assumes",
        ["it must be 'nothing' or 'balanced'"],
    ),
    (
        '[[row]]\ntrain = "proto"',
        '[[row]]\ntrain = "proto"\ndrop_unlabeled = 1',
        "row[0].drop_unlabeled[0]",
        ["it must be a valid boolean"],
    ),
    (
        '[[row]]\ntrain = "proto"',
        '[[row]]\ntrain = "proto"\nonly = { way = 7 }',
        "row[0].only",
        ["proto: no tasks match"],
    ),
    (
        '[[row]]\ntrain = "proto"',
        '[[row]]\ntrain = "proto"\nonly = { weigh = 7 }',
        "row[0].only.weigh",
        [
            "expected one of: distractors, label_noise, labeled_ratio, query, shot, unlabeled, way, within_groups"
        ],
    ),
    (
        'name = "propagation"',
        'name = "proto"',
        "row[1].name",
        ["rename one, or restrict each to its own tasks with only"],
    ),
    (
        'method = "label_propagation"',
        'method = "egnn"',
        "row[1].method",
        ["must be trained", "steps = 0"],
    ),
    (
        'method = "label_propagation"',
        'method = "label_propagation"\narguments = { beta = 1 }',
        "row[1].arguments",
        ["expected one of: affinity, center, power, transductive"],
    ),
    ("only = { way = 5 }", "only = 5", "row[1].only", ["a table"]),
]


@pytest.mark.parametrize(
    ("old", "new", "key", "words"), CHANGES, ids=[f"{new[:30]!r}" for _, new, _, _ in CHANGES]
)
def test_an_error_names_the_key_the_value_and_what_is_allowed(tmp_path, old, new, key, words):
    message = refused(tmp_path, change(old, new))
    assert message.startswith(key), message
    assert [word for word in words if word not in message] == [], message


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ('name = "small"\n[data\nname = 1\n', None, ["not valid TOML", "line 2"]),
        ('name = "small"\nname = "again"\n', None, ["not valid TOML", "overwrite"]),
        ('name = "small"\ntitle = """\nnever ends\n', None, ["not valid TOML"]),
        (HEAD + TRAIN + ROWS, "tasks", ["required"]),
        (HEAD + TRAIN + DRAW, "row", ["required"]),
        ('name = "small"\n' + DRAW, "data", ["required"]),
        (HEAD + TRAIN + TRAIN + DRAW + ROWS, "train[1].name", ["'proto' is taken"]),
        (
            'compare_with = "protto"\n' + SMALL,
            "compare_with",
            ["no row is called 'protto'", "did you mean 'proto'"],
        ),
    ],
)
def test_a_spec_that_is_none_gives_one_line(tmp_path, text, key, words):
    message = refused(tmp_path, text)
    assert key is None or message.startswith(f"{key}: "), message
    assert [word for word in words if word not in message] == [], message


def test_a_file_that_is_not_there_or_no_text(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.toml does not exist"):
        load_spec(tmp_path / "nowhere.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"binary\.toml is not UTF-8 text"):
        load_spec(tmp_path / "binary.toml")


def test_trained_methods_that_work_untrained_need_no_training():
    assert [
        name
        for name in ("ridge", "logistic", "egnn", "attention_weight_generator", "label_propagation")
        if needs_trained_weights(name)
    ] == ["egnn", "attention_weight_generator"]


def test_methods_are_refused_tasks_that_they_are_not_made_for(tmp_path):
    fixed = SMALL.replace('method = "prototypical"', 'method = "gnn"\nway = 5')
    assert "was trained for way 5, but [[tasks]] has way 3; set only = { way = [5] }" in refused(
        tmp_path, fixed
    )
    unlabeled = SMALL.replace("query = 2", "query = 2\nunlabeled = 2")
    assert "does not use unlabeled items" in refused(tmp_path, unlabeled)
    spec(tmp_path, unlabeled.replace('train = "proto"', 'train = "proto"\ndrop_unlabeled = true'))


def test_entries_of_one_name_are_one_row_where_their_draws_differ(tmp_path):
    text = SMALL.replace('train = "proto"', 'train = "proto"\nonly = { way = 3 }').replace(
        '"propagation"', '"proto"'
    )
    assert [row.name for row in spec(tmp_path, text).methods] == ["proto", "proto"]
    spec(
        tmp_path,
        SMALL
        + '[[row]]\nname = "propagation"\nmethod = "pt_map"\nencoder_from = "proto"\nonly = { way = 3 }\n',
    )
    message = refused(
        tmp_path,
        SMALL + '[[row]]\nname = "propagation"\nmethod = "pt_map"\nencoder_from = "proto"\n'
        'mode = "transductive"\n',
    )
    assert "also evaluated on 5-way 1-shot" in message


def test_starts_need_a_seed_to_start_from(tmp_path):
    second = """
[[train]]
name = "second"
method = "prototypical"
encoder_arguments = { width = 4 }
init_from = "proto"
seeds = [0, 5]
"""
    message = refused(tmp_path, HEAD + TRAIN + second + DRAW + ROWS)
    assert "has seed 5, but 'proto' has seeds [0, 1]" in message
    assert message.startswith("train[1].init_from: ")


def test_a_training_starts_from_a_pretrained_model(tmp_path):
    second = """
[[train]]
name = "second"
method = "ridge"
init_from = "prototypical-omniglot"
freeze_encoder = true
"""
    read = spec(tmp_path, HEAD + TRAIN + second + DRAW + ROWS)
    assert read.training_chain("second", 0) == ((read.training("second"), 0),)
    job = training_job(read, read.training("second"), 0, tmp_path, {}, "cpu")
    assert job.config.init_encoder == "prototypical-omniglot"
    assert job.config.freeze_encoder

    misspelled = second.replace("-omniglot", "-omniglott")
    message = refused(tmp_path, HEAD + TRAIN + misspelled + DRAW + ROWS)
    assert message.startswith("train[1].init_from: no earlier training or pretrained model")
    assert "did you mean 'prototypical-omniglot'?" in message


def test_clusters_may_come_from_the_embedding_of_an_earlier_training(tmp_path):
    second = """
[[train]]
name = "second"
method = "prototypical"
encoder_arguments = { width = 4 }
init_from = "proto"
tasks = "cactus"
embedding = "proto"
"""
    read = spec(tmp_path, HEAD + TRAIN + second + DRAW + ROWS)
    job = training_job(read, read.training("second"), 0, tmp_path, {}, "cpu")
    assert job.config.embedding == job.config.init_encoder
    assert job.config.embedding == (tmp_path / "runs/small/proto-seed0/best.safetensors").as_posix()


def test_more_ways_than_classes_are_an_error_of_the_tasks(tmp_path):
    read = spec(tmp_path, change("way = [3, 5]", "way = [5, 500]"))
    items = read.data.load(read.data.test, {}, test=True)
    assert isinstance(items, Dataset)
    with pytest.raises(ValueError, match=r"way is 500 but .* has 101 classes"):
        read.tasks[1].create(items, 0)
