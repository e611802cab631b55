"""Few-shot methods as scikit-learn estimators.

Start with `classifier.FewShotClassifier`.
"""

from graphfew.estimators.classifier import FewShotClassifier

__all__ = ["FewShotClassifier"]
