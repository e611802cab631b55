"""`FewShotClassifier`: few-shot methods in scikit-learn's interface."""

from graphfew.estimators.classifier import FewShotClassifier

__all__ = ["FewShotClassifier"]
