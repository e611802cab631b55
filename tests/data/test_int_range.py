import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphfew.data.int_range import IntRange

ranges = st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)).map(
    lambda pair: IntRange(*sorted(pair))
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, (3, 3)),
        ((1, 4), (1, 4)),
        ([2, 2], (2, 2)),
        (np.int64(5), (5, 5)),
        (IntRange(1, 4), (1, 4)),
    ],
)
def test_of(value, expected):
    converted = IntRange.of(value, name="way", minimum=1)
    assert (converted.low, converted.high) == expected


@pytest.mark.parametrize("value", [0, (0, 3), (4, 2), (1, 2, 3), 1.5, "5", True, (1, 2.0), None])
def test_of_rejects_other_values_and_names_the_argument(value):
    with pytest.raises(ValueError, match="way is"):
        IntRange.of(value, name="way", minimum=1)


def test_draw_reaches_both_ends_and_a_constant_leaves_the_generator_unchanged():
    rng = np.random.default_rng(0)
    assert {IntRange(2, 4).draw(rng) for _ in range(100)} == {2, 3, 4}
    before = rng.bit_generator.state
    assert IntRange(3, 3).draw(rng) == 3
    assert rng.bit_generator.state == before


def test_text_and_json():
    assert (str(IntRange(5, 5)), str(IntRange(1, 75))) == ("5", "1-75")
    assert (IntRange(5, 5).to_json(), IntRange(1, 75).to_json()) == (5, [1, 75])


@given(ranges)
def test_parse_inverts_str(span):
    assert IntRange.parse(str(span)) == span
    assert IntRange.of(span) == span


@pytest.mark.parametrize(
    "text", ["", "x", "5-", "-5", "5-x", "5.0", "1-2-3", "5-3", "9" * 400, "٣", "1_0"]
)
def test_parse_rejects_other_text_and_names_the_option(text):
    with pytest.raises(ValueError, match="shot is"):
        IntRange.parse(text, name="shot")


def test_a_range_runs_from_low_to_high():
    with pytest.raises(ValueError, match="from low to high, got 3-2"):
        IntRange(3, 2)
