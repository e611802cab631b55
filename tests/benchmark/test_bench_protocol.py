"""The guard: what keeps two figures apart is said, and nothing that moves accuracy is passed over."""

from __future__ import annotations

from typing import Any

import pytest
from bench_records import made, published_result

from graphfew.benchmark.protocol import (
    EvaluationProtocol,
    backbone_name,
    comparison_caveats,
    major_differences,
    protocol_differences,
    query_name,
    query_phrase,
)
from graphfew.benchmark.published import PublishedResult

FIGURE = published_result()


def changed(**changes: Any) -> PublishedResult:
    return published_result(**changes)


def test_the_same_protocol_has_no_differences() -> None:
    assert (
        protocol_differences(
            EvaluationProtocol.from_published(FIGURE), EvaluationProtocol.from_record(made())
        )
        == ()
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"backbone": "resnet12"}, "backbone: resnet12 there, conv4-64 here"),
        ({"backbone": "unknown"}, "backbone: not known there, conv4-64 here"),
        ({"mode": "transductive"}, "mode: transductive there, inductive here"),
        ({"batch_norm": "test batch"}, "batch norm statistics: test batch there, running here"),
        ({"split": "random 1200/423"}, "split: random 1200/423 there, the benchmark's own here"),
        ({"assumes": "balanced"}, "assumed class balance: balanced there, nothing here"),
        ({"selected_on": "test"}, "checkpoint selected on: test there, validation here"),
        ({"selected_on": "unknown"}, "checkpoint selected on: not known there, validation here"),
        ({"way": 20}, "way: 20 there, 5 here"),
        ({"labeled_ratio": 0.2}, "fraction of shots with labels: 0.2 there, 1 here"),
        ({"unlabeled": 5}, "unlabeled items per class: 5 there, 0 here"),
        ({"unlike": ("hidden labels vote",)}, "hidden labels vote (there)"),
    ],
)
def test_what_moves_accuracy_is_told(changes: dict[str, Any], said: str) -> None:
    there, here = (
        EvaluationProtocol.from_published(changed(**changes)),
        EvaluationProtocol.from_record(made()),
    )
    assert said in major_differences(there, here)
    assert said in protocol_differences(there, here)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tasks": 600}, "test tasks: 600 there, 40 here"),
        ({"tasks": None}, "test tasks: not known there, 40 here"),
        ({"query": "one-per-class"}, "1 query per class there, 15 queries per class here"),
        ({"selected_on": "nothing"}, "checkpoint selected on: nothing there, validation here"),
    ],
)
def test_what_moves_the_interval_alone_is_told_but_does_not_forbid(
    changes: dict[str, Any], said: str
) -> None:
    there, here = (
        EvaluationProtocol.from_published(changed(**changes)),
        EvaluationProtocol.from_record(made()),
    )
    assert said in protocol_differences(there, here)
    assert major_differences(there, here) == ()


@pytest.mark.parametrize("mode", ["transductive", "inductive, transductive batch norm"])
def test_how_queries_are_drawn_moves_what_looks_at_other_queries(mode: str) -> None:
    norm = "test batch" if "norm" in mode else "running"
    figure = changed(query="one-per-class", mode=mode.split(",")[0], batch_norm=norm)
    assert major_differences(
        EvaluationProtocol.from_published(figure), EvaluationProtocol.from_record(made(mode=mode))
    ) == ("1 query per class there, 15 queries per class here",)


def test_modes_of_records_are_read() -> None:
    record = made(
        mode="inductive, unlabeled nodes dropped, transductive batch norm", tasks={"unlabeled": 5}
    )
    own = EvaluationProtocol.from_record(record)
    assert (own.mode, own.batch_norm, own.unlabeled) == ("inductive", "test batch", "0")
    assert (
        EvaluationProtocol.from_record(
            made(mode="semi-supervised, transductive", tasks={"unlabeled": 5})
        ).unlabeled
        == "5"
    )
    assert (
        EvaluationProtocol.from_record(
            made(model={"selected_on": "omniglot/evaluation"})
        ).selected_on
        == "test"
    )
    assert (
        EvaluationProtocol.from_record(made(model={"selected_on": None})).selected_on == "nothing"
    )


@pytest.mark.parametrize(
    ("encoder", "name"),
    [
        (
            {"name": "affine_tta", "arguments": {"encoder": {"name": "conv4", "arguments": {}}}},
            "conv4-64, affine copies",
        ),
        ({"name": "conv4", "arguments": {"width": 32}}, "conv4-32"),
        ({"name": "conv4", "arguments": {}}, "conv4-64"),
        ({"name": "egnn_conv", "arguments": {}}, "conv-64-96-128-256"),
        ({"name": "resnet12", "arguments": {}}, "resnet12"),
        (
            {
                "name": "pca",
                "arguments": {"encoder": {"name": "resnet12", "arguments": {}}, "components": 96},
            },
            "resnet12, 96 principal components",
        ),
        (
            {
                "name": "concat",
                "arguments": {
                    "encoders": [
                        {"name": "conv4", "arguments": {}},
                        {"name": "resnet18", "arguments": {}},
                        {"name": "conv4", "arguments": {}},
                    ]
                },
            },
            "2 × conv4-64 and resnet18",
        ),
        ({"name": "concat", "arguments": {}}, "unknown"),
        ({"name": "my_net", "arguments": {}}, "my-net"),
        ("Flatten", "unknown"),
        (None, "unknown"),
    ],
)
def test_backbones_have_the_names_of_papers(encoder: object, name: str) -> None:
    assert backbone_name(encoder) == name


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("15", "balanced(15)"),
        ("balanced(15)", "balanced(15)"),
        ("1", "one-per-class"),
        ("balanced(1)", "one-per-class"),
        ("dirichlet:75:2", "dirichlet(2.0, 75)"),
        ("drawn by hand", "drawn by hand"),
        ("unknown", "unknown"),
    ],
)
def test_a_draw_has_one_name(form: str, name: str) -> None:
    assert query_name(form) == name


def test_draws_read_as_sentences() -> None:
    names = (
        "balanced(15)",
        "dirichlet(2.0, 75)",
        "multinomial(75)",
        "single",
        "single-class(75)",
        "effective(5-10, 64)",
        "varied(1-75, 1-2)",
    )
    assert [query_phrase(name) for name in names] == [
        "15 queries per class",
        "75 queries, Dirichlet(2)",
        "75 queries, multinomial",
        "1 query",
        "75 queries of one class",
        "64 queries of 5-10 classes",
        "queries: varied(1-75, 1-2)",
    ]


def test_rows_of_different_tasks_are_not_compared() -> None:
    for other in (made(count=20), made(tasks={"seed": 1}), made(tasks={"shot": 5})):
        with pytest.raises(ValueError, match="only the same tasks"):
            comparison_caveats(made(), other)


def test_rows_of_other_modes_or_assumptions_are_marked() -> None:
    assert comparison_caveats(made(), made("EGNN")) == ()
    assert comparison_caveats(made(), made(mode="transductive")) == (
        "mode: inductive there, transductive here",
    )
    assert comparison_caveats(made(), made(assumes="balanced")) == (
        "assumed class balance: nothing there, balanced here",
    )
