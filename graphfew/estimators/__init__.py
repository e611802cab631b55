"""Few-shot methods as scikit-learn estimators.

Start with `classifier.FewShotClassifier`; its default method is `auto.ensemble.fit_ensemble`.
"""

from graphfew.estimators.auto.calibration import agreement_features
from graphfew.estimators.auto.ensemble import fit_ensemble
from graphfew.estimators.auto.weights import EnsembleWeights, default_weights
from graphfew.estimators.classifier import FewShotClassifier

__all__ = [
    "EnsembleWeights",
    "FewShotClassifier",
    "agreement_features",
    "default_weights",
    "fit_ensemble",
]
