import numpy as np
import pytest

from graphfew.data.int_range import bounds, text, uniform


@pytest.mark.parametrize(
    ("span", "expected"), [(3, (3, 3)), ((1, 4), (1, 4)), ([2, 2], (2, 2)), (np.int64(5), (5, 5))]
)
def test_bounds(span, expected):
    assert bounds("way", span, 1) == expected


@pytest.mark.parametrize("span", [0, (0, 3), (4, 2), (1, 2, 3), 1.5, "5", True, (1, 2.0), None])
def test_bounds_refuses_and_names_the_argument(span):
    with pytest.raises(ValueError, match="way is"):
        bounds("way", span, 1)


def test_uniform_reaches_both_ends_and_a_fixed_value_draws_nothing():
    rng = np.random.default_rng(0)
    assert {uniform(rng, (2, 4)) for _ in range(100)} == {2, 3, 4}
    before = rng.bit_generator.state
    assert uniform(rng, (3, 3)) == 3
    assert rng.bit_generator.state == before


def test_text():
    assert (text((5, 5)), text((1, 75))) == ("5", "1-75")
