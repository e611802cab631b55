import pytest
import torch

from graphfew._utils.seeding import seeded


def draw(*seed: int) -> torch.Tensor:
    with seeded(*seed):
        return torch.rand(4)


def test_the_same_seed_draws_the_same_numbers_whatever_came_before() -> None:
    first = draw(3, 1)
    torch.rand(7)
    assert torch.equal(draw(3, 1), first)


def test_seeds_are_mixed_not_added() -> None:
    draws = [draw(*seed) for seed in ((0,), (1,), (1, 2), (2, 1), (3,), (0, 1), (0, 0))]
    assert len({tuple(d.tolist()) for d in draws}) == len(draws)


def test_the_global_state_is_as_it_was_before() -> None:
    before = torch.get_rng_state()
    draw(0)
    assert torch.equal(torch.get_rng_state(), before)


def fail_inside(seed: int) -> None:
    with seeded(seed):
        torch.rand(1)
        raise KeyError("inside")


def test_an_error_inside_also_restores_the_state() -> None:
    before = torch.get_rng_state()
    with pytest.raises(KeyError, match="inside"):
        fail_inside(0)
    assert torch.equal(torch.get_rng_state(), before)


def test_blocks_nest() -> None:
    with seeded(5):
        torch.rand(2)
        draw(6)
        inner = torch.rand(2)
    with seeded(5):
        torch.rand(2)
        assert torch.equal(torch.rand(2), inner)


@pytest.mark.parametrize("seed", [(), (-1,), (0, -2)])
def test_refuses_seeds_that_seed_nothing(seed: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="one or more integers, none negative"), seeded(*seed):
        pass


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_is_seeded_and_restored() -> None:
    before = torch.cuda.get_rng_state()
    with seeded(1):
        first = torch.rand(4, device="cuda")
    with seeded(1):
        second = torch.rand(4, device="cuda")
    assert torch.equal(first, second)
    assert torch.equal(torch.cuda.get_rng_state(), before)
