"""Few-shot methods as scikit-learn estimators.

Start with `classifier.FewShotClassifier`; its default method is `auto.ensemble.fit_ensemble`.
"""

from graphfew.estimators.auto.calibration import agreement_features
from graphfew.estimators.auto.ensemble import fit_ensemble
from graphfew.estimators.auto.members import fit_members, member_graph_of
from graphfew.estimators.auto.mixture import (
    Candidate,
    candidate_features,
    cut_share_of,
    fit_mixture,
    mix_candidates,
    propose_candidates,
)
from graphfew.estimators.auto.weights import EnsembleWeights, default_weights, weights_from
from graphfew.estimators.classifier import FewShotClassifier

__all__ = [
    "Candidate",
    "EnsembleWeights",
    "FewShotClassifier",
    "agreement_features",
    "candidate_features",
    "cut_share_of",
    "default_weights",
    "fit_ensemble",
    "fit_members",
    "fit_mixture",
    "member_graph_of",
    "mix_candidates",
    "propose_candidates",
    "weights_from",
]
