import pytest
import torch

from graphfew._utils.seeding import seeded


def sample(*seed: int) -> torch.Tensor:
    with seeded(*seed):
        return torch.rand(4)


def test_same_seed_gives_same_numbers() -> None:
    first = sample(3, 1)
    torch.rand(7)
    assert torch.equal(sample(3, 1), first)


def test_seeds_are_mixed() -> None:
    samples = [sample(*seed) for seed in ((0,), (1,), (1, 2), (2, 1), (3,), (0, 1), (0, 0))]
    assert len({tuple(d.tolist()) for d in samples}) == len(samples)


def test_global_state_is_restored() -> None:
    before = torch.get_rng_state()
    sample(0)
    assert torch.equal(torch.get_rng_state(), before)


def fail_inside(seed: int) -> None:
    with seeded(seed):
        torch.rand(1)
        raise KeyError("inside")


def test_global_state_is_restored_after_an_error() -> None:
    before = torch.get_rng_state()
    with pytest.raises(KeyError, match="inside"):
        fail_inside(0)
    assert torch.equal(torch.get_rng_state(), before)


def test_nested_blocks() -> None:
    with seeded(5):
        torch.rand(2)
        sample(6)
        inner = torch.rand(2)
    with seeded(5):
        torch.rand(2)
        assert torch.equal(torch.rand(2), inner)


@pytest.mark.parametrize("seed", [(), (-1,), (0, -2)])
def test_invalid_seeds_raise(seed: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="one or more integers, all at least 0"), seeded(*seed):
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
