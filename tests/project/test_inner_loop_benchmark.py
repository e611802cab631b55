"""The speed benchmark of the inner loop compares forms that give the same numbers."""

import pytest

from benchmarks.speed import inner_loop


def test_all_forms_have_the_same_gradients_and_logits():
    result = inner_loop.measure(repeats=1, tasks=2, dim=12)
    differences = result["largest_relative_difference"]
    assert {"graphfew", "loop of torch.autograd", "loop of torch.func"} <= set(differences)
    assert max(differences.values()) < 1e-4
    for stage in ("training", "evaluation"):
        seconds = result[stage]["seconds"]
        assert set(seconds) == set(differences)
        assert result[stage]["tasks_per_processor_second"]["graphfew"] == pytest.approx(
            2 / seconds["graphfew"][0]
        )
