"""A fit with a graph that was built before is the fit without one."""

import torch

from graphfew.estimators.auto.ensemble import fit_ensemble
from graphfew.estimators.auto.weights import default_weights
from graphfew.labeling import build_item_graph


def test_a_known_graph_changes_nothing():
    x = torch.randn(60, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.full((60,), -1)
    labels[:6] = torch.arange(6) % 3
    graph = build_item_graph(x)
    expected = fit_ensemble(x, labels, 3, default_weights())
    fit = fit_ensemble(x, labels, 3, default_weights(), graph.member_graph)
    torch.testing.assert_close(fit.logits, expected.logits)
    torch.testing.assert_close(
        fit.ensemble.similarity(x + 0.1), expected.ensemble.similarity(x + 0.1)
    )
