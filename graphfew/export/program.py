"""Export of models for a fixed episode size: `torch.export` programs and ONNX files."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

from graphfew._utils.atomic_io import atomic_replace, with_suffix
from graphfew.core.episode import UNKNOWN, Episode
from graphfew.errors import InvalidInputError, MissingDependencyError
from graphfew.export import decompositions
from graphfew.export.tracer import TraceError, trace_operators
from graphfew.nn.eval_mode import eval_mode
from graphfew.nn.method import GraphMethod

SUFFIX = ".onnx"
# Largest allowed difference, relative to the largest logit: far above the rounding of a deep
# network, far below the difference of a wrong program.
TOLERANCE = {torch.float64: 1e-8}
DEFAULT_TOLERANCE = 1e-2

Program = Callable[[Tensor, Tensor], Tensor]


def export_program(model: GraphMethod, episode: Episode) -> torch.export.ExportedProgram:
    """Export a model in evaluation mode as a `torch.export` program for one episode size.

    The program is `(x, y) -> logits`, with `x` of the shape of `episode.x`, `y [N]` int64 (-1 if
    unknown) and `logits [Q, max(way)]`.

    Fixed are the sizes and ways of the tasks, which nodes are queries, the number of labeled items
    of each class, and the number of unlabeled items. Variable are the items and the assignment of
    labels to the other nodes. With labels that violate this, all logits are NaN. For inductive
    predictions of a model that was trained transductively, export
    `model.in_mode(transductive=False)`.

    Every method that is written in torch alone can be exported. Of the registered methods,
    `linear_head` (scikit-learn's solver) and `matching_fce` (torch's LSTM) cannot; nor can
    `metaoptnet_svm`, `pt_map` and `propagated_prototypes` with `balanced=True`, or label propagation
    and spreading on more than 3000 nodes, which iterate until convergence. `attention_attractor`
    and `imaml` become about 35,000 operators and take many minutes; they are not tested.

    Args:
        model: any method; it is left unchanged.
        episode: an episode of the intended size, on the device and in the dtype of the model.

    Returns:
        The program. Results that depend on neither items nor labels are constants in it, so most
        weights have numbers instead of names.

    Raises:
        InvalidInputError: the model rejects the episode, or it cannot be exported because its
            computation depends on the items' values or leaves torch.
        RuntimeError: the predictions of the program differ from those of the model.

    Example:
        >>> import torch, graphfew as gf
        >>> x, y = torch.eye(3), torch.tensor([0, 1, -1])
        >>> episode = gf.Episode.single(x, y, query=y < 0, way=2)
        >>> model = gf.create("prototypical", encoder=gf.backbones.identity(3))
        >>> program = gf.export.export_program(model, episode)
        >>> program.module()(x, y).shape
        torch.Size([1, 2])
    """
    program = _export(model, episode, decompositions.for_tracing())
    _check_predictions(model, episode, program.module(), "the exported program")
    return program


def to_onnx(model: GraphMethod, episode: Episode, path: str | Path) -> Path:
    """Export a model in evaluation mode as an ONNX file for one episode size.

    The file has inputs `x` and `y` and output `logits`, as in `export_program`. It needs
    `onnxscript` (`pip install "graphfew[onnx]"`). Use a float32 model: onnxruntime supports few
    operators in float64. Linear solves become eliminations of one step per node, so the file grows
    with the episode, and methods with many iterations take minutes.

    If onnxruntime is installed, its predictions are compared with those of the model before the
    file is put in place.

    Args:
        model: any method; it is left unchanged.
        episode: an episode of the intended size, on the device and in the dtype of the model.
        path: the file; `.onnx` is appended if missing, and folders are created.

    Returns:
        The path of the file.

    Raises:
        MissingDependencyError: onnx or onnxscript is not installed.
        InvalidInputError: as for `export_program`, or ONNX lacks an operator.
        RuntimeError: the predictions of the file differ from those of the model.
        WriteError: the file cannot be written; the previous file is unchanged.

    Example:
        >>> import torch, graphfew as gf
        >>> x, y = torch.eye(3), torch.tensor([0, 1, -1])
        >>> episode = gf.Episode.single(x, y, query=y < 0, way=2)
        >>> model = gf.create("prototypical", encoder=gf.backbones.identity(3))
        >>> gf.export.to_onnx(model, episode, "model.onnx")  # doctest: +SKIP
        PosixPath('model.onnx')
    """
    _check_installed()
    target = with_suffix(path, SUFFIX)
    program = _export(model, episode, decompositions.for_onnx())
    _check_predictions(model, episode, program.module(), "the exported program")
    converted = _convert_to_onnx(program)
    with atomic_replace(target) as temporary:
        converted.save(str(temporary))
        session = _onnxruntime_program(temporary)
        if session is not None:
            _check_predictions(model, episode, session, "onnxruntime")
    return target


def _export(
    model: GraphMethod, episode: Episode, replacements: Mapping[Any, Any]
) -> torch.export.ExportedProgram:
    with _frozen(model):
        model(episode)  # if the model rejects the episode, its own error is the clearest
        names = {id(value): name for name, value in model.state_dict(keep_vars=True).items()}
        inputs = {"x": episode.x.clone(), "y": episode.y.clone()}
        try:
            graph = trace_operators(
                _logits_function(model, episode), inputs, names=names, replacements=replacements
            )
        except TraceError as error:
            name = "the model" if model.spec is None else model.spec.name
            raise InvalidInputError(
                f"{name} cannot be exported: {error}; keep it in torch, or use another method"
            ) from error
    return torch.export.export(_InputNames(graph), (episode.x, episode.y), strict=False)


class _InputNames(nn.Module):
    """Gives the inputs of a traced graph their names."""

    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__()
        self.traced = traced

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        logits: Tensor = self.traced(x, y)
        return logits


def _logits_function(model: GraphMethod, episode: Episode) -> Program:
    """The logits as a function of items and labels.

    The structure of the episode is constant in a trace, labels included. The order of nodes does
    not matter, so labels become variable by a permutation of the items: each item moves to a
    position at which the episode has its label.
    """
    node_kind = _NodeKind(episode)
    expected = node_kind(episode.y)
    by_kind = torch.argsort(expected, stable=True)
    from_sorted = torch.argsort(by_kind)
    sorted_kinds = expected[by_kind]

    def logits_function(x: Tensor, y: Tensor) -> Tensor:
        kinds = node_kind(y)
        if model.node_order_matters:
            items = x
            is_valid = (kinds == expected).all()
        else:
            # Unique keys need no stable sort, which some runtimes lack.
            position = torch.arange(len(y), device=y.device)
            order = torch.argsort(kinds * len(y) + position)
            items = x.index_select(0, order.index_select(0, from_sorted))
            is_valid = (kinds[order] == sorted_kinds).all()
        logits = model(episode.encode(lambda _: items)).logits
        return torch.where(is_valid, logits, torch.nan)

    return logits_function


class _NodeKind:
    """Maps each node to a number: its task, and in it its class, unlabeled, query, or invalid."""

    def __init__(self, episode: Episode) -> None:
        self.query, self.task = episode.query, episode.task
        self.way = max(episode.way)

    def __call__(self, y: Tensor) -> Tensor:
        # In a task: 0 is unlabeled, 1 .. way are the classes, then query and invalid.
        is_query, invalid = self.way + 1, self.way + 2
        query_kind = torch.where(y == UNKNOWN, is_query, invalid)
        other_kind = torch.where((y >= UNKNOWN) & (y < self.way), y + 1, invalid)
        n_kinds = invalid + 1
        return self.task * n_kinds + torch.where(self.query, query_kind, other_kind)


@contextmanager
def _frozen(model: GraphMethod) -> Iterator[None]:
    """The model in evaluation mode, with weights that require no gradients."""
    trainable = [weight for weight in model.parameters() if weight.requires_grad]
    try:
        for weight in trainable:
            weight.requires_grad_(False)
        with eval_mode(model):
            yield
    finally:
        for weight in trainable:
            weight.requires_grad_(True)


def _check_predictions(model: GraphMethod, episode: Episode, program: Program, name: str) -> None:
    """Compare the program with the model, on the episode and on another one of the same size.

    The second episode exposes values that became constants by mistake.
    """
    for example in (episode, _permuted(model, episode)):
        with eval_mode(model):
            expected = model(example).logits
        logits = program(example.x, example.y).to(expected)
        is_finite = expected.isfinite()
        difference = (expected - logits)[is_finite].abs().max()
        scale = expected[is_finite].abs().max().clamp_min(1)
        tolerance = TOLERANCE.get(expected.dtype, DEFAULT_TOLERANCE)
        # Negated so that NaN is an error.
        if not difference <= tolerance * scale:
            raise RuntimeError(
                f"{name} is off by {float(difference):.2g} from logits up to {float(scale):.2g}: "
                "values leave torch, or a linear solve is not accurate enough; keep the model in torch"
            )


def _permuted(model: GraphMethod, episode: Episode) -> Episode:
    """The items in reverse order, with the labels of each task reversed if their order is free."""
    y = episode.y.clone()
    if not model.node_order_matters:
        for task in range(episode.n_tasks):
            nodes = torch.nonzero((episode.task == task) & ~episode.query).flatten()
            y[nodes] = y[nodes].flip(0)
    return Episode(episode.x.flip(0), y, episode.query, episode.sizes, episode.way)


def _check_installed() -> None:
    from importlib.util import find_spec

    for name in ("onnx", "onnxscript"):
        if find_spec(name) is None:
            raise MissingDependencyError(
                f'{name} is not installed, but to_onnx needs it; run: pip install "graphfew[onnx]"'
            )


def _convert_to_onnx(program: torch.export.ExportedProgram) -> Any:
    from torch.onnx.errors import OnnxExporterError

    try:
        with warnings.catch_warnings():
            # torch's exporter uses a deprecated function of torch.
            warnings.filterwarnings("ignore", ".*treespec, LeafSpec", FutureWarning)
            # Not optimized: the optimizer treats the addition of 1e-12, which keeps quotients
            # finite, as an addition of 0 and removes it.
            return torch.onnx.export(
                program,
                (),
                input_names=["x", "y"],
                output_names=["logits"],
                dynamo=True,
                optimize=False,
                verbose=False,
            )
    except (OnnxExporterError, RuntimeError) as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise InvalidInputError(
            f"ONNX has no operator for a step of this model: {reason}; use export_program"
        ) from error


def _onnxruntime_program(path: Path) -> Program | None:
    """Predictions of the file by onnxruntime; None if it is not installed."""
    try:
        import onnxruntime
    except ImportError:
        return None
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(x: Tensor, y: Tensor) -> Tensor:
        (logits,) = session.run(["logits"], {"x": x.cpu().numpy(), "y": y.cpu().numpy()})
        return torch.from_numpy(logits)

    return run
