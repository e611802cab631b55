"""Projection of features on their principal components."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch.nn import functional

import graphfew as gf
from graphfew.backbones.principal_components import PrincipalComponents

ITEMS = torch.randn(40, 7, generator=torch.Generator().manual_seed(0)) * torch.linspace(1, 3, 7)


def fitted(components: int) -> gf.backbones.Backbone:
    encoder = gf.backbones.pca(gf.backbones.identity(7), components)
    net = encoder.net
    assert isinstance(net, PrincipalComponents)
    net.fit(ITEMS)
    return encoder


def test_equals_scikit_learn() -> None:
    encoder = fitted(3)
    unit = functional.normalize(ITEMS, dim=1).double().numpy()
    expected = PCA(3).fit(unit).transform(unit)
    expected *= np.sqrt(3) / np.linalg.norm(expected, axis=1, keepdims=True)
    projected = encoder(ITEMS).double().numpy()
    signs = np.sign((projected * expected).sum(0))
    np.testing.assert_allclose(projected, expected * signs, atol=1e-4)


def test_all_components_preserve_angles() -> None:
    projected = fitted(7)(ITEMS)
    unit = functional.normalize(ITEMS, dim=1)
    centered = functional.normalize(unit - unit.mean(0), dim=1)
    torch.testing.assert_close(
        projected @ projected.T / 7, centered @ centered.T, atol=1e-5, rtol=1e-4
    )


def test_directions_are_saved_and_scale_is_ignored() -> None:
    encoder = fitted(3)
    again = gf.backbones.create(encoder.spec)
    assert not torch.allclose(again(ITEMS), encoder(ITEMS))
    again.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(again(5 * ITEMS), encoder(ITEMS))
    assert encoder.out_dim == 3
    assert not list(encoder.parameters())


@pytest.mark.parametrize("components", [0, 8])
def test_too_many_components_raise(components: int) -> None:
    with pytest.raises(
        ValueError, match=f"pca got components={components}; the encoder's 7 features"
    ):
        gf.backbones.pca(gf.backbones.identity(7), components)


def test_too_few_items_raise() -> None:
    net = fitted(3).net
    assert isinstance(net, PrincipalComponents)
    with pytest.raises(ValueError, match="3 principal components need more than 3 items"):
        net.fit(ITEMS[:3])
