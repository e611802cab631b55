"""Generate the page of every registered method from its docstring, registry entry and results."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

import graphfew as gf
from docs.generate import docstring, records
from graphfew.benchmark import report

NOTATION = (
    "x: encoded items; i, j: nodes; q: a query; k, c: classes; y: known labels; K_k: number of "
    "supports of class k; softmax(logits) is the prediction."
)
ORDER = {True: "can change predictions", False: "does not change predictions"}
# Arguments without which a method cannot be created, as code.
REQUIRED = {"poisson_mbo": ', prior="uniform"'}
UNMEASURED = "No benchmark of this repository includes this method."


def names() -> tuple[str, ...]:
    """Return the names of the registered methods, sorted."""
    return tuple(sorted(gf.METHODS))


def page(name: str) -> str:
    """Return the page of one method, as Markdown."""
    method = gf.METHODS[name]
    sections = docstring.parse(method.factory)
    formula = "\n".join(["```text", *sections.formula, "```"])
    parts = [
        f"# `{name}`",
        sections.summary,
        *sections.notes,
        facts(method),
        use(name, method),
        "## Formula",
        formula,
        NOTATION,
        "## Source",
        sections.source,
        "## Deviations",
        sections.deviations,
        "## Arguments",
        arguments(method, sections.arguments),
        "## Returns",
        sections.returns,
    ]
    for error, reason in sections.raises.items():
        parts.append(f"Raises `{error}` {reason}")
    return "\n\n".join([*parts, "## Measured", *measured(name)]) + "\n"


def facts(method: gf.MethodSpec) -> str:
    """List the capabilities of a method."""
    modes = [mode for mode in ("inductive", "transductive") if getattr(method, mode)]
    training = "none needed"
    if method.loss is not None:
        loss = f"{method.loss.__module__}.{method.loss.__name__}"
        training = f"with [`gf.{method.loss.__name__}`](../api/methods.md#{loss})"
        if method.works_untrained:
            training += "; also predicts without training"
    rows = {
        "modes": ", ".join(modes),
        "training": training,
        "way": "fixed by training" if method.fixed_way else "any",
        "shot": "fixed by training" if method.fixed_shot else "any",
        "unlabeled nodes": "used" if method.unlabeled else "rejected",
        "class order": ORDER[method.class_order_matters],
        "support order": ORDER[method.node_order_matters],
    }
    return "\n".join(f"- **{name}:** {value}" for name, value in rows.items())


def use(name: str, method: gf.MethodSpec) -> str:
    """Return runnable code: the method on an untrained encoder, applied to two glyph episodes."""
    options = (", way=5" if method.fixed_way else "") + (", shot=1" if method.fixed_shot else "")
    options += REQUIRED.get(name, "")
    unlabeled = ", unlabeled=2" if method.unlabeled else ""
    return "\n".join(
        [
            "```python",
            "import graphfew as gf",
            "",
            'data = gf.data.glyphs(split="test")',
            f"tasks = gf.Tasks(data, way=5, shot=1, query=3{unlabeled}, seed=0)",
            "episode, target = tasks.batch(range(2))",
            f'model = gf.create("{name}", encoder=gf.backbones.conv4(width=16){options})',
            "logits = model.eval()(episode).logits  # [30, 5]",
            "```",
        ]
    )


def arguments(method: gf.MethodSpec, descriptions: Mapping[str, str]) -> str:
    """Return the table of the factory's arguments, with defaults and descriptions."""
    parameters = inspect.signature(method.factory).parameters
    rows = []
    for name, description in descriptions.items():
        rows.append([f"`{name}`", _default(parameters[name]), description.replace("|", "\\|")])
    return table(["argument", "default", "description"], rows)


def measured(name: str) -> list[str]:
    """Return the results of a method, one section per benchmark."""
    benchmarks = list(records.of_method(name))
    if not benchmarks:
        return [UNMEASURED]
    parts = [report.NOTE]
    for title, tables in benchmarks:
        parts.append(f"### {title}")
        parts.extend(report.render_table(table) for table in tables)
    return parts


def index() -> str:
    """Return the table of all methods."""
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
                "used" if method.unlabeled else "rejected",
                method.paper,
            ]
        )
    return table(["name", "modes", "training", "unlabeled nodes", "source"], rows)


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _default(parameter: inspect.Parameter) -> str:
    if parameter.default is parameter.empty:
        return ""
    value = parameter.default
    return f"`{value.__name__}`" if callable(value) else f"`{value!r}`"
