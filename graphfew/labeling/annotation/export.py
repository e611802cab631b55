"""Labels of an annotation as files, in the formats of `graphfew label`."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch.nn import functional as F

from graphfew.labeling.annotation.service import Snapshot
from graphfew.labeling.label_files import write_table
from graphfew.labeling.label_sources import LabelSource
from graphfew.labeling.label_table import LabelTable

FORMATS: Mapping[str, str] = {
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/jsonl",
    "parquet": "application/vnd.apache.parquet",
}


def export_labels(snapshot: Snapshot, name: str, *, only_labeled: bool = False) -> bytes:
    """Write labels and predictions as a file.

    Args:
        snapshot: the current state.
        name: the format, a key of `FORMATS`.
        only_labeled: leave out predictions, which need labels of two classes in any case.

    Returns:
        The content of the file.

    Raises:
        MissingDependencyError: Parquet without pyarrow.
    """
    n_classes = len(snapshot.predictions.class_ids)
    rows: Sequence[int] = range(len(snapshot.items))
    if only_labeled or n_classes < 2:
        # Without any class, there is no label to write.
        rows = sorted(snapshot.decided) if n_classes else ()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "labels")
        write_table(label_table(snapshot, rows), path, f".{name}")
        return path.read_bytes()


def label_table(snapshot: Snapshot, rows: Sequence[int]) -> LabelTable:
    """Return labels and predictions as the table that `graphfew label` writes.

    Items that belong to none of the classes are unknown.

    Args:
        snapshot: the current state.
        rows: indices of the items in the table.

    Returns:
        The table.
    """
    items, predictions = snapshot.items, snapshot.predictions
    state = snapshot.state
    names = tuple(items.names[row] for row in rows)
    labels = tuple(state.labels.get(items.keys[row]) for row in rows)
    if items.kind == "text":
        texts = tuple(items.contents[row] for row in rows)
        source = LabelSource(names, texts, "text", labels)
    else:
        source = LabelSource(names, items.features[list(rows)], "features", labels)
    ids = [state.find_class(name) for name in source.classes]
    columns = [predictions.class_ids.index(class_id) for class_id in ids if class_id is not None]
    probs = predictions.probs[:, columns] if columns else torch.zeros(len(items), 1)
    unit = F.normalize(torch.as_tensor(items.features).float(), dim=1)
    means = F.normalize(probs.T @ unit, dim=1)
    predicted = probs.argmax(1)
    similarity = (unit * means[predicted]).sum(1)
    is_unknown = torch.zeros(len(items), dtype=torch.bool)
    is_unknown[list(snapshot.decided - predictions.scores.assigned.keys())] = True
    chosen = torch.tensor(list(rows), dtype=torch.int64)
    return LabelTable(
        items=source,
        probs=probs[chosen].numpy(),
        predicted=predicted[chosen].numpy(),
        similarity=similarity[chosen].numpy(),
        is_unknown=is_unknown[chosen].numpy(),
    )
