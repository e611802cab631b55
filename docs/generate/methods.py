"""A page for every registered method, from its docstring, the registry's facts and the records."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

import graphfew as gf
from docs.generate import docstring, records
from graphfew.benchmark import report

NOTATION = (
    "x: items after the encoder; i, j: nodes; q: a query; k, c: classes; y: known labels; K_k: supports of "
    "class k; softmax(logits) is the prediction."
)
UNMEASURED = "No benchmark of the repository has a row of this method."


def names() -> tuple[str, ...]:
    """The registered methods, sorted."""
    return tuple(sorted(gf.METHODS))


def page(name: str) -> str:
    """The page of one method, as Markdown."""
    method, told = gf.METHODS[name], docstring.parse(gf.METHODS[name].factory)
    formula = "\n".join(["```text", *told.formula, "```"])
    parts = [
        f"# `{name}`",
        told.summary,
        *told.notes,
        facts(method),
        use(name, method),
        "## Formula",
        formula,
        NOTATION,
        "## Source",
        told.source,
        "## Deviations",
        told.deviations[:1].upper() + told.deviations[1:],
        "## Arguments",
        arguments(method, told.arguments),
    ]
    if told.raises:
        parts += ["Refused with a `ValueError`: " + told.raises.removeprefix("ValueError: ")]
    return "\n\n".join([*parts, "## Measured", *measured(name)]) + "\n"


def facts(method: gf.MethodSpec) -> str:
    """What a method can be asked."""
    loss = getattr(method.loss, "__name__", None)
    rows = {
        "modes": ", ".join(mode for mode in ("inductive", "transductive") if getattr(method, mode)),
        "training": f"with [`gf.{loss}`](../api/training.md#graphfew.losses.{loss})"
        if loss
        else "none needed",
        "way": "fixed: the number of classes of its training" if method.fixed_way else "any",
        "shot": "fixed: the number of supports of its training" if method.fixed_shot else "any",
        "unlabeled nodes": "used" if method.unlabeled else "refused",
        "renaming the classes": "may change an answer"
        if method.class_order_matters
        else "changes no answer",
        "order of the supports": "may change an answer"
        if method.node_order_matters
        else "changes no answer",
    }
    return "\n".join(f"- **{name}:** {value}" for name, value in rows.items())


def use(name: str, method: gf.MethodSpec) -> str:
    """Code that runs: one episode of glyphs through the method, its encoder untrained."""
    fixed = (", way=5" if method.fixed_way else "") + (", shot=1" if method.fixed_shot else "")
    pile = ", unlabeled=2" if method.unlabeled else ""
    return "\n".join(
        [
            "```python",
            "import graphfew as gf",
            "",
            'data = gf.data.glyphs(split="test")',
            f"tasks = gf.Tasks(data, way=5, shot=1, query=3{pile}, seed=0)",
            "episode, target = tasks.batch(range(2))",
            f'model = gf.create("{name}", encoder=gf.backbones.conv4(width=16){fixed})',
            "logits = model.eval()(episode).logits  # [30, 5]",
            "```",
        ]
    )


def arguments(method: gf.MethodSpec, told: Mapping[str, str]) -> str:
    """The factory's arguments, each with its default and meaning."""
    defaults = inspect.signature(method.factory).parameters
    rows = []
    for together, meaning in told.items():
        own = [name.strip() for name in together.split(",")]
        shown = ", ".join(_default(defaults[name]) for name in own)
        rows.append([", ".join(f"`{name}`" for name in own), shown, meaning.replace("|", "\\|")])
    return table(["argument", "default", "meaning"], rows)


def measured(name: str) -> list[str]:
    """The records' rows of a method, benchmark by benchmark."""
    found = [
        [f"### {title}", *map(report.titled, tables)] for title, tables in records.of_method(name)
    ]
    return [report.NOTE, *(part for parts in found for part in parts)] if found else [UNMEASURED]


def index() -> str:
    """The list of all methods."""
    rows = []
    for name in names():
        method = gf.METHODS[name]
        modes = ", ".join(mode for mode in ("inductive", "transductive") if getattr(method, mode))
        loss = getattr(method.loss, "__name__", None)
        rows.append(
            [
                f"[`{name}`]({name}.md)",
                modes,
                f"`{loss}`" if loss else "none needed",
                "used" if method.unlabeled else "refused",
                method.paper,
            ]
        )
    return table(["name", "modes", "training", "unlabeled nodes", "source"], rows)


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _default(parameter: inspect.Parameter) -> str:
    if parameter.default is parameter.empty:
        return ""
    value = parameter.default
    return f"`{value.__name__}`" if callable(value) else f"`{value!r}`"
