"""Accuracy over tasks with its interval, paired comparisons, and checks that a method keeps its contract.

Start reading at `accuracy.evaluate`.
"""

from graphfew.errors import ContractError
from graphfew.evaluation.accuracy import (
    Comparison,
    Result,
    compare,
    compare_results,
    evaluate,
    predict,
)
from graphfew.evaluation.contract import check_contract
from graphfew.evaluation.mode import EvaluationMode
from graphfew.evaluation.statistics import calibration_error, t_interval

__all__ = [
    "Comparison",
    "ContractError",
    "EvaluationMode",
    "Result",
    "calibration_error",
    "check_contract",
    "compare",
    "compare_results",
    "evaluate",
    "predict",
    "t_interval",
]
