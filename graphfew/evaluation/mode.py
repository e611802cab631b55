"""`EvaluationMode`: what a model has access to while it is evaluated."""

from __future__ import annotations

import dataclasses

SEMI_SUPERVISED = "semi-supervised"
DROPPED = "unlabeled nodes dropped"
BATCH_NORM = "transductive batch norm"


@dataclasses.dataclass(frozen=True)
class EvaluationMode:
    """What a model has access to besides the labeled support set.

    Its text form, `str(mode)`, is read back by `EvaluationMode.parse`.

    Attributes:
        transductive: all queries of a task are in one graph; otherwise each has its own.
        unlabeled: the tasks have unlabeled items, and the model uses them.
        unlabeled_dropped: the tasks have unlabeled items, and the model drops them.
        transductive_bn: batch norm uses the statistics of each task.

    Raises:
        ValueError: unlabeled items are both used and dropped.

    Example:
        >>> mode = EvaluationMode(transductive=False, unlabeled=True)
        >>> str(mode)
        'semi-supervised, inductive'
        >>> EvaluationMode.parse('semi-supervised, inductive') == mode
        True
    """

    transductive: bool
    unlabeled: bool = False
    unlabeled_dropped: bool = False
    transductive_bn: bool = False

    def __post_init__(self) -> None:
        if self.unlabeled and self.unlabeled_dropped:
            raise ValueError("unlabeled items are either used or dropped, not both")

    def __str__(self) -> str:
        parts = ["transductive" if self.transductive else "inductive"]
        if self.unlabeled:
            parts.insert(0, SEMI_SUPERVISED)
        if self.unlabeled_dropped:
            parts.append(DROPPED)
        if self.transductive_bn:
            parts.append(BATCH_NORM)
        return ", ".join(parts)

    @classmethod
    def parse(cls, text: str) -> EvaluationMode:
        """Return the mode that has this text form.

        Args:
            text: such as `"transductive"` or `"inductive, unlabeled nodes dropped"`.

        Returns:
            The mode, with `str(mode) == text`.

        Raises:
            ValueError: no mode has this text form.

        Example:
            >>> EvaluationMode.parse("transductive").transductive
            True
        """
        parts = text.split(", ")
        mode = cls(
            transductive="transductive" in parts,
            unlabeled=SEMI_SUPERVISED in parts,
            unlabeled_dropped=DROPPED in parts and SEMI_SUPERVISED not in parts,
            transductive_bn=BATCH_NORM in parts,
        )
        if str(mode) != text:
            raise ValueError(
                f"unknown evaluation mode {text[:80]!r}; expected 'inductive' or 'transductive', "
                f"optionally after {SEMI_SUPERVISED!r} or before {DROPPED!r} and {BATCH_NORM!r}"
            )
        return mode
