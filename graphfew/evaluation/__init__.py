"""Accuracy over tasks with confidence intervals, paired comparisons, and checks of the evaluation contract.

Start with `accuracy.evaluate`.
"""

from graphfew.errors import ContractError
from graphfew.evaluation.accuracy import DescribedTasks, Result, evaluate, per_task_accuracy
from graphfew.evaluation.comparison import Comparison, compare, compare_results
from graphfew.evaluation.contract import check_contract
from graphfew.evaluation.mode import EvaluationMode
from graphfew.evaluation.prediction import predict
from graphfew.evaluation.statistics import calibration_error, t_interval

__all__ = [
    "Comparison",
    "ContractError",
    "DescribedTasks",
    "EvaluationMode",
    "Result",
    "calibration_error",
    "check_contract",
    "compare",
    "compare_results",
    "evaluate",
    "per_task_accuracy",
    "predict",
    "t_interval",
]
