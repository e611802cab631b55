"""Accuracy over tasks with confidence intervals, paired comparisons, and checks of the evaluation contract.

Start with `accuracy.evaluate`.
"""

from graphfew.errors import ContractError
from graphfew.evaluation.accuracy import DescribedTasks, Result, evaluate, per_task_accuracy
from graphfew.evaluation.comparison import Comparison, compare, compare_results
from graphfew.evaluation.contract import check_contract
from graphfew.evaluation.fitted import FittedMethod, fit_method
from graphfew.evaluation.mode import EvaluationMode
from graphfew.evaluation.prediction import predict
from graphfew.evaluation.significance import (
    MethodRanking,
    PairwiseTest,
    SeedAverage,
    average_over_seeds,
    compare_pairwise,
    holm_correction,
    not_significantly_below_best,
    rank_methods,
)
from graphfew.evaluation.statistics import calibration_error, t_interval

__all__ = [
    "Comparison",
    "ContractError",
    "DescribedTasks",
    "EvaluationMode",
    "FittedMethod",
    "MethodRanking",
    "PairwiseTest",
    "Result",
    "SeedAverage",
    "average_over_seeds",
    "calibration_error",
    "check_contract",
    "compare",
    "compare_pairwise",
    "compare_results",
    "evaluate",
    "fit_method",
    "holm_correction",
    "not_significantly_below_best",
    "per_task_accuracy",
    "predict",
    "rank_methods",
    "t_interval",
]
