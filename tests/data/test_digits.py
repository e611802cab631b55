import pytest
import torch

from graphfew.data import digits


def test_digits_have_the_common_size_and_polarity():
    data = digits()
    assert (data.x.shape, data.x.dtype, data.classes) == (
        (1797, 1, 28, 28),
        torch.uint8,
        tuple("0123456789"),
    )
    assert data.x[:, :, 0, 0].float().mean() < 20 < 100 < data.x.amax((1, 2, 3)).float().min()


def test_digits_keep_their_labels_at_any_size():
    data = digits(size=8)
    assert data.x.shape == (1797, 1, 8, 8)
    assert data.y[:10].tolist() == list(range(10))


def test_an_image_size_of_zero_is_rejected():
    with pytest.raises(ValueError, match="size is 0; it must be at least 1 pixel"):
        digits(size=0)
