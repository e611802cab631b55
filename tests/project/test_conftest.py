import pytest
import torch

from graphfew.core.episode import Episode

X, Y, QUERY = torch.zeros(2, 3), torch.tensor([0, -1]), torch.tensor([False, True])


def test_shapes_are_checked() -> None:
    with pytest.raises(TypeError, match="Type-check error"):
        Episode(X, Y[:1], QUERY, (2,), (2,))


@pytest.mark.usefixtures("unchecked")
def test_unchecked_fixture_shows_the_librarys_own_error() -> None:
    with pytest.raises(ValueError, match="lengths differ"):
        Episode(X, Y[:1], QUERY, (2,), (2,))
