"""The evaluation mode: what a model may see besides the support set."""

from __future__ import annotations

import dataclasses

from graphfew.errors import InvalidInputError

_SEMI_SUPERVISED = "semi-supervised"
_DROPPED = "unlabeled nodes dropped"
_TRANSDUCTIVE_BN = "transductive batch norm"


@dataclasses.dataclass(frozen=True)
class EvaluationMode:
    """What a model may see besides the labeled support set when it predicts a query.

    `str(mode)` is its text form, which results store; `EvaluationMode.parse` is the inverse.

    Attributes:
        transductive: whether a prediction may depend on the other queries of its task.
        unlabeled: whether the tasks have unlabeled items and the model uses them.
        unlabeled_dropped: whether the tasks have unlabeled items that are removed before the model
            runs.
        transductive_bn: whether batch norm uses the statistics of the evaluated task.

    Raises:
        InvalidInputError: unlabeled items are both used and dropped.

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
            raise InvalidInputError(
                "unlabeled and unlabeled_dropped are both True; unlabeled items are used or dropped, not both"
            )

    def __str__(self) -> str:
        parts = ["transductive" if self.transductive else "inductive"]
        if self.unlabeled:
            parts.insert(0, _SEMI_SUPERVISED)
        if self.unlabeled_dropped:
            parts.append(_DROPPED)
        if self.transductive_bn:
            parts.append(_TRANSDUCTIVE_BN)
        return ", ".join(parts)

    @classmethod
    def parse(cls, text: str) -> EvaluationMode:
        """Parse the text form, the inverse of `str`.

        Args:
            text: such as `"transductive"` or `"inductive, unlabeled nodes dropped"`. The British
                spelling of earlier records is accepted.

        Returns:
            The mode.

        Raises:
            InvalidInputError: no mode has this text form.

        Example:
            >>> EvaluationMode.parse("transductive").transductive
            True
        """
        # Results that were saved before the spelling changed.
        text = text.replace("unlabelled", "unlabeled")
        parts = text.split(", ")
        mode = cls(
            transductive="transductive" in parts,
            unlabeled=_SEMI_SUPERVISED in parts,
            unlabeled_dropped=_DROPPED in parts and _SEMI_SUPERVISED not in parts,
            transductive_bn=_TRANSDUCTIVE_BN in parts,
        )
        if str(mode) != text:
            raise InvalidInputError(
                f"unknown evaluation mode {text[:80]!r}; expected 'inductive' or 'transductive', "
                f"optionally after {_SEMI_SUPERVISED!r} or before {_DROPPED!r} and {_TRANSDUCTIVE_BN!r}"
            )
        return mode
