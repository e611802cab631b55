"""Features of one length, turned to their principal components."""

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


def test_directions_are_those_of_a_principal_component_analysis() -> None:
    encoder = fitted(3)
    unit = functional.normalize(ITEMS, dim=1).double().numpy()
    expected = PCA(3).fit(unit).transform(unit)
    expected *= np.sqrt(3) / np.linalg.norm(expected, axis=1, keepdims=True)
    found = encoder(ITEMS).double().numpy()
    signs = np.sign((found * expected).sum(0))
    np.testing.assert_allclose(found, expected * signs, atol=1e-4)


def test_all_components_keep_the_angles_about_the_mean() -> None:
    found = fitted(7)(ITEMS)
    unit = functional.normalize(ITEMS, dim=1)
    centerd = functional.normalize(unit - unit.mean(0), dim=1)
    torch.testing.assert_close(found @ found.T / 7, centerd @ centerd.T, atol=1e-5, rtol=1e-4)


def test_directions_are_weights_and_lengths_do_not_matter() -> None:
    encoder = fitted(3)
    again = gf.backbones.create(encoder.spec)
    assert not torch.allclose(again(ITEMS), encoder(ITEMS))
    again.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(again(5 * ITEMS), encoder(ITEMS))
    assert encoder.out_dim == 3
    assert not list(encoder.parameters())


@pytest.mark.parametrize("components", [0, 8])
def test_there_are_as_many_components_as_features_at_most(components: int) -> None:
    with pytest.raises(
        ValueError, match=f"principal got components={components}; the encoder's 7 features"
    ):
        gf.backbones.pca(gf.backbones.identity(7), components)


def test_too_few_items_are_refused() -> None:
    net = fitted(3).net
    assert isinstance(net, PrincipalComponents)
    with pytest.raises(ValueError, match="3 principal components need more than 3 items"):
        net.fit(ITEMS[:3])
