"""Items of a source for the commands `label`, `suggest` and `annotate`: read, reported, encoded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from graphfew.cli import console
from graphfew.data.problems import count_items, describe_problems
from graphfew.encoders import ItemEncoder, default_encoder
from graphfew.errors import ConfigurationError
from graphfew.labeling.label_sources import LabelSource, read_source
from graphfew.labeling.source_options import SourceOptions


def read_reported_source(path: Path, options: SourceOptions, screen: Console) -> LabelSource:
    """Read a source with progress, and print what was read and left out."""
    with console.counter_display(screen, None) as progress:
        source = read_source(path, options, lambda done: progress("checking images", done))
    first = f"Read {source.origin}: {source.description}."
    console.print_lines(screen, [first, *problem_lines(source)])
    return source


def problem_lines(source: LabelSource) -> list[str]:
    """Describe the items that were left out, as lines, if there are any."""
    if not source.problems:
        return []
    lines = [f"{count_items(source.problems)} left out, which cannot be read:"]
    return lines + [f"  {line}" for line in describe_problems(source.problems)]


def choose_encoder(source: LabelSource, encoder: ItemEncoder | None) -> ItemEncoder | None:
    """Return the encoder of a source: the given or the default one; None for features.

    Args:
        source: the items.
        encoder: of the option --encoder.

    Raises:
        ConfigurationError: the encoder does not take such items.
    """
    if source.kind == "features":
        if encoder is not None:
            raise ConfigurationError(
                f"--encoder {encoder.name} takes {' or '.join(encoder.kinds)}, and {source.origin} "
                "has features, which need no encoder; omit it, or name the column of the items "
                "with --text-column or --image-column"
            )
        return None
    chosen = encoder or default_encoder(source.kind)
    if source.kind not in chosen.kinds:
        raise ConfigurationError(
            f"--encoder {chosen.name} takes {' or '.join(chosen.kinds)}, and the items of "
            f"{source.origin} are of the kind {source.kind}; choose another one"
        )
    return chosen


def encode_source(
    source: LabelSource, encoder: ItemEncoder | None, screen: Console
) -> NDArray[Any]:
    """Compute `[n, F]` features with progress; without an encoder the items are the features."""
    if encoder is None:
        return np.asarray(source.items)
    items = source.items if isinstance(source.items, np.ndarray) else list(source.items)
    with console.counter_display(screen, len(source)) as progress:
        return encoder.fit(items).encode(items, lambda done: progress("encoding", done))
