"""What the speed benchmark compares is the same formula: edges at every layer, and the loss and its gradient."""

import pytest
import torch

import graphfew as gf
from benchmarks.speed import edge_step, naive


def randomised(transductive: bool) -> gf.GraphMethod:
    model = gf.create("egnn", encoder=gf.backbones.identity(6), width=8, transductive=transductive).double().eval()
    generator = torch.Generator().manual_seed(1)
    for name, value in model.state_dict().items():
        if value.dtype.is_floating_point:
            value.copy_(torch.rand(value.shape, generator=generator, dtype=value.dtype) - (0.5 if "net" in name else 0))
            value.abs_() if "running_var" in name else None
    return model


def batch() -> tuple[gf.Episode, torch.Tensor]:
    episode, target = edge_step.episode()
    small = episode.take(range(3))
    return small.encode(lambda x: x[:, :6].double()), target[:15]


@pytest.mark.parametrize("transductive", [True, False])
def test_edges_and_loss_are_the_library_s(transductive):
    model, (episode, target) = randomised(transductive), batch()
    out = model(episode)
    graphs = episode if transductive else episode.inductive()
    edges = naive.from_model(model)(*naive.tensors(graphs))
    assert len(edges) == len(out.graphs) - 1 == 3
    for ours, theirs in zip(out.graphs[1:], edges, strict=True):
        expected = theirs.permute(0, 2, 3, 1).reshape(-1, 2)
        assert torch.allclose(ours.edges, expected, rtol=0, atol=1e-10)
    assert not torch.allclose(edges[0], edges[-1], atol=1e-3)
    assert gf.edge_loss(out, target).item() == pytest.approx(naive.edge_loss(edges, graphs, target).item(), abs=1e-10)


def test_tasks_of_different_size_are_refused():
    episode, _ = batch()
    y = torch.tensor([0, 1, -1])
    other = gf.Episode.single(torch.zeros(3, 6, dtype=torch.float64), y, y < 0, 2)
    with pytest.raises(ValueError, match="equal sizes"):
        naive.tensors(gf.collate([episode, other]))


def test_the_benchmark_runs_both_steps():
    result = edge_step.measure(1)
    assert len(result["ratios"]) == 1
    assert result["ratio"] == pytest.approx(result["ratios"][0])
