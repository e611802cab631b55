"""The naive implementation of the speed benchmark computes the same edges, loss and gradients."""

import pytest
import torch
from torch import Tensor

import graphfew as gf
from benchmarks.speed import egnn, naive, shapes


def randomized(name: str, **arguments) -> gf.GraphMethod:
    model = gf.create(name, encoder=gf.backbones.identity(6), width=8, **arguments).double().eval()
    generator = torch.Generator().manual_seed(1)
    for name, value in model.state_dict().items():
        if value.dtype.is_floating_point:
            value.copy_(
                torch.rand(value.shape, generator=generator, dtype=value.dtype)
                - (0.5 if "net" in name else 0)
            )
            value.abs_() if "running_var" in name else None
    return model


def batch() -> tuple[gf.Episode, torch.Tensor]:
    episode, target = shapes.episode(5, 5, 1, 3, dim=6)
    return episode.encode(Tensor.double), target


@pytest.mark.parametrize("transductive", [True, False])
def test_edges_and_loss_equal_the_library(transductive):
    model, (episode, target) = randomized("egnn", transductive=transductive), batch()
    out = model(episode)
    graphs = episode if transductive else episode.inductive()
    edges = naive.from_model(model)(*naive.tensors(graphs))
    assert len(edges) == len(out.graphs) - 1 == 3
    for ours, theirs in zip(out.graphs[1:], edges, strict=True):
        expected = theirs.permute(0, 2, 3, 1).reshape(-1, 2)
        assert torch.allclose(ours.edges, expected, rtol=0, atol=1e-10)
    assert not torch.allclose(edges[0], edges[-1], atol=1e-3)
    assert gf.edge_loss(out, target).item() == pytest.approx(
        naive.edge_loss(edges, graphs, target).item(), abs=1e-10
    )


def test_tasks_of_different_size_are_refused():
    episode, _ = batch()
    y = torch.tensor([0, 1, -1])
    other = gf.Episode.single(torch.zeros(3, 6, dtype=torch.float64), y, y < 0, 2)
    with pytest.raises(ValueError, match="equal sizes"):
        naive.tensors(gf.collate([episode, other]))


@pytest.mark.parametrize("output_norm", [True, False])
def test_logits_equal_the_librarys_gnn(output_norm):
    model, (episode, _) = randomized("gnn", way=5, output_norm=output_norm), batch()
    graphs = episode.inductive()
    ours = model.forward_encoded(graphs).graphs[-1].nodes
    theirs = naive.gnn_from_model(model)(naive.labeled_nodes(graphs))
    assert ours.std() > 0.01
    assert torch.allclose(ours, theirs.flatten(0, 1), rtol=0, atol=1e-10)


def test_benchmark_runs_both_implementations():
    small = {"few": (2, 1, 1, 2)}
    [step] = egnn.training(1, small).values()
    assert step["times_as_fast"]["graphfew"] == pytest.approx(
        step["seconds"]["naive"][0] / step["seconds"]["graphfew"][0]
    )
    both = egnn.answers(1, small)
    assert set(both) == {"few", "inductive, 75 queries"}
    for answer in both.values():
        assert set(answer["times_as_fast"]) == {
            "graphfew",
            "graphfew, bfloat16",
            "one large product",
            "one large convolution",
        }
        assert answer["share_of_peak"] > 0


def test_share_of_peak_is_relative_throughput():
    """Half of the matmul's work in a quarter of its time is twice its rate."""
    times = {
        "graphfew": [1.0, 5.0, 1.0],
        "one large product": [4.0, 4.0, 9.0],
        "one large convolution": [8.0] * 3,
    }
    assert egnn.share(times, egnn.LARGE**3 // 2) == pytest.approx(2.0)
