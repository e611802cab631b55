"""Test-time augmentation and concatenation of encoders."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

import graphfew as gf
from graphfew.backbones.wrappers import AffineTTA, affine_matrices

IMAGES = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def test_affine_tta_is_the_mean_over_copies() -> None:
    plain = gf.backbones.conv4(width=4, seed=1).eval()
    encoder = gf.backbones.affine_tta(plain, copies=3).eval()
    tta = encoder.net
    assert isinstance(tta, AffineTTA)
    assert torch.equal(tta.matrices[0], torch.eye(2, 3))
    expected = torch.zeros(3, plain.out_dim)
    for image in range(3):
        for matrix in tta.matrices:
            grid = functional.affine_grid(matrix[None], [1, 1, 28, 28], align_corners=False)
            copy = functional.grid_sample(IMAGES[image : image + 1], grid, align_corners=False)
            expected[image] += plain(copy)[0].detach() / 3
    torch.testing.assert_close(encoder(IMAGES).detach(), expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(gf.backbones.affine_tta(plain, copies=1)(IMAGES), plain(IMAGES))


def test_affine_tta_is_deterministic_and_independent_of_the_batch() -> None:
    encoder = gf.backbones.affine_tta(gf.backbones.conv4(width=4, seed=1), copies=4).eval()
    again = gf.backbones.create(encoder.spec).eval()
    again.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(again(IMAGES), encoder(IMAGES))
    torch.testing.assert_close(encoder(IMAGES[1:2]), encoder(IMAGES)[1:2], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("shift", [0, 2])
def test_flip_tta_is_the_mean_over_flips_and_shifts(shift: int) -> None:
    plain = gf.backbones.conv4(width=4, seed=1).eval()
    x, expected = torch.zeros(3, 1, 28, 28), []
    for down, right in {(0, 0), (shift, 0), (-shift, 0), (0, shift), (0, -shift)}:
        x.zero_()
        for i in range(28):
            for j in range(28):
                if 0 <= i - down < 28 and 0 <= j - right < 28:
                    x[:, :, i, j] = IMAGES[:, :, i - down, j - right]
        expected += [plain(x).detach(), plain(x.flip(3)).detach()]
    features = gf.backbones.flip_tta(plain, shift).eval()(IMAGES).detach()
    torch.testing.assert_close(features, torch.stack(expected).mean(0), atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="shift=-1"):
        gf.backbones.flip_tta(plain, -1)


def test_concat_concatenates_features() -> None:
    parts = [gf.backbones.conv4(width=4, seed=1).eval(), gf.backbones.conv4(width=6, seed=2).eval()]
    encoder = gf.backbones.concat(parts).eval()
    assert encoder.out_dim == 10
    torch.testing.assert_close(encoder(IMAGES), torch.cat([part(IMAGES) for part in parts], 1))
    again = gf.backbones.create(encoder.spec).eval()
    again.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(again(IMAGES), encoder(IMAGES))
    with pytest.raises(ValueError, match="concat got no encoder"):
        gf.backbones.concat([])


def test_concat_adds_up_prototype_logits() -> None:
    parts = [gf.backbones.conv4(width=4, seed=seed).eval() for seed in (1, 2)]
    episode, _ = gf.Tasks(gf.data.glyphs("test"), way=3, query=2)[0]
    alone = [gf.create("prototypical", encoder=part).eval()(episode).logits for part in parts]
    combined = gf.create("prototypical", encoder=gf.backbones.concat(parts)).eval()(episode).logits
    torch.testing.assert_close(
        combined.softmax(1), (alone[0] + alone[1]).softmax(1), atol=1e-4, rtol=1e-4
    )


def test_affine_matrices_stay_within_bounds() -> None:
    corners = torch.tensor([[0.0] * 6, [1.0] * 6, [0.5] * 6]).T
    low, high, none = affine_matrices(corners, 1.0)
    torch.testing.assert_close(none, torch.eye(2, 3))
    assert high[:, 2].tolist() == pytest.approx([0.12, 0.12])
    assert low[:, 2].tolist() == pytest.approx([-0.12, -0.12])
    assert float(high[0, 0]) == pytest.approx(1.15 * 0.97815, abs=1e-4)
    torch.testing.assert_close(affine_matrices(corners, 0.0), torch.eye(2, 3).expand(3, 2, 3))


def test_checkpoint_round_trip(tmp_path) -> None:  # type: ignore[no-untyped-def]
    model = gf.create(
        "prototypical",
        encoder=gf.backbones.affine_tta(gf.backbones.conv4(width=4, seed=1), copies=2),
    )
    again = gf.load(gf.save(model, tmp_path / "m"))
    torch.testing.assert_close(again.encoder.eval()(IMAGES), model.encoder.eval()(IMAGES))


@pytest.mark.parametrize(
    ("change", "reason"), [({"copies": 0}, "copies=0"), ({"strength": 0.0}, "strength=0.0")]
)
def test_invalid_arguments_raise(change: dict[str, float], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        gf.backbones.affine_tta(gf.backbones.conv4(width=4), **change)  # type: ignore[arg-type]
