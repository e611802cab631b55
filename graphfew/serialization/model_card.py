"""Model cards: what a model is, how it was trained and how accurate it is, as Markdown."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from typing import Any

from graphfew._utils.model_spec import JSON
from graphfew.errors import InvalidInputError
from graphfew.evaluation.accuracy import Result
from graphfew.methods.registry import METHODS
from graphfew.nn.method import GraphMethod

_TABLE_HEAD = (
    "| data | mode | way | shot | queries | tasks | accuracy in % |",
    "| --- | --- | ---: | ---: | --- | ---: | ---: |",
)


def build_model_card(
    model: GraphMethod,
    address: str,
    *,
    results: Sequence[Result] = (),
    description: str = "",
    license: str | None = None,
) -> str:
    """Write the model card of a model, as `push_to_hub` uploads it.

    Args:
        model: a model that was made by `create`; its provenance is the part on training.
        address: what `load` takes, such as `"hf://owner/name"`.
        results: results of `evaluate`, one row each.
        description: paragraph on data, intended use and limits.
        license: license of the model, such as `"mit"`.

    Returns:
        Markdown, with the metadata of the hub in front.

    Raises:
        InvalidInputError: the model was not made by `create`.

    Example:
        >>> import graphfew as gf
        >>> model = gf.load("prototypical-omniglot")
        >>> card = gf.serialization.build_model_card(model, "hf://owner/name", license="mit")
        >>> card.splitlines()[1:3]
        ['license: mit', 'library_name: graphfew']
    """
    spec = model.spec
    if spec is None:
        raise InvalidInputError("the model was not made by create; only such models have a card")
    encoder: Any = spec.arguments.get("encoder")
    encoder_name = encoder["name"] if isinstance(encoder, Mapping) else "an encoder"
    title = address.rpartition("/")[2]
    parts = [
        _metadata(spec.name, license),
        f"# {title}",
        f"`{spec.name}` on `{encoder_name}`: a few-shot classifier of graphfew. {_summary(spec.name)}",
    ]
    if description:
        parts.append(description)
    parts += [
        f'```python\nimport graphfew as gf\n\nmodel = gf.load("{address}")\n```',
        "## Model",
        _json_block({"method": spec.name, **spec.arguments}),
        f"{_count_weights(model):,} weights in one safetensors file. Nothing is unpickled.",
        "## Training",
        _json_block(model.provenance) if model.provenance else "The model was not trained.",
    ]
    if results:
        rows = [_row(result) for result in results]
        parts += [
            "## Accuracy",
            "Mean over tasks of new classes, with 95 % intervals.",
            "\n".join([*_TABLE_HEAD, *rows]),
        ]
    return "\n\n".join(parts) + "\n"


def _metadata(method: str, license: str | None) -> str:
    lines = ["---"]
    if license is not None:
        # JSON text is valid YAML, also for a license with a colon in its name.
        lines.append(f"license: {license if license.isalnum() else json.dumps(license)}")
    lines += ["library_name: graphfew", "tags:"]
    lines += [f"- {tag}" for tag in ("few-shot-learning", "graph-neural-networks", method)]
    return "\n".join([*lines, "---"])


def _summary(method: str) -> str:
    """The first line of the method's docstring; empty for a method that is not registered here."""
    registered = METHODS.get(method)
    text = None if registered is None else inspect.getdoc(registered.factory)
    return text.partition("\n")[0] if text else ""


def _json_block(values: Mapping[str, JSON]) -> str:
    return f"```json\n{json.dumps(dict(values), indent=1, ensure_ascii=False)}\n```"


def _count_weights(model: GraphMethod) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _row(result: Result) -> str:
    tasks = result.tasks
    accuracy = f"{100 * result.mean:.2f} ± {100 * result.half_width:.2f}"
    cells = (
        f"{tasks.get('data')}/{tasks.get('split')}",
        str(result.mode),
        tasks.get("way"),
        tasks.get("shot"),
        tasks.get("query"),
        f"{len(result.per_task):,}",
        accuracy,
    )
    # A bar would end the cell.
    texts = [str(cell).replace("|", "\\|") for cell in cells]
    return f"| {' | '.join(texts)} |"
