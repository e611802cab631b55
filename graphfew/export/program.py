"""Models as programs of a fixed episode size: `torch.export` and ONNX."""

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
from graphfew.export import decompositions
from graphfew.export.tracer import TraceError, trace_operators
from graphfew.nn.eval_mode import eval_mode
from graphfew.nn.method import GraphMethod

SUFFIX = ".onnx"
# Of the largest logit: far above what rounding does to a deep network, far below what a wrong program would.
TOLERANCE = {torch.float64: 1e-8}


def export_program(model: GraphMethod, episode: Episode) -> torch.export.ExportedProgram:
    """The model, in evaluation, as a `torch.export` program `(x, y) -> logits` for episodes of this size.

    Fixed are which nodes are queries, the sizes and ways of the tasks, how many supports each class has and how many
    nodes have no label. Free are the items and which supports have which label. Labels that break this make every logit
    NaN. For inductive answers of a model that was trained transductively, give `model.in_mode(transductive=False)`.
    What hangs on neither items nor labels is worked out already, so most weights are there under numbers.

    Every method that works in torch alone can be exported. Of the library's own these cannot: `linear_head` (its solver
    is scikit-learn's) and `matching_fce` (a program of torch's LSTM); nor can `pt_map` and `propagated_prototypes` with
    `balanced=True`, or label propagation and spreading above 3000 nodes (they iterate until it is enough).
    `attention_attractor`, whose solver becomes some 35,000 operators, takes many minutes, and no test waits for it.

    Args:
        model: any method; stays as it is.
        episode: of the size wanted, on the model's device and in its dtype.

    Shapes:
        of the program: x as `episode.x`, y `[N]` int64, -1 unknown; logits `[Q, max(way)]`.

    Raises:
        ValueError: an episode that the model refuses, or a model whose work hangs on the items' values or leaves torch.
        RuntimeError: the program's answers are not the model's.
    """
    program = _exported(model, episode, decompositions.always())
    _compare(model, episode, lambda x, y: program.module()(x, y), "the exported program")
    return program


def to_onnx(model: GraphMethod, episode: Episode, path: str | Path) -> Path:
    """Write the model, in evaluation, as an ONNX file with inputs `x` and `y` and output `logits`, see `to_exported`.

    Needs `onnxscript` (`pip install "graphfew[onnx]"`). Give a float32 model: onnxruntime has few operators in float64.
    Solves of linear systems become eliminations, one step per node, so the file grows with the episode; methods of many
    rounds take minutes to write. The file is written beside and renamed; where onnxruntime is installed its answers are
    compared with the model's first.

    Args:
        model, episode: as `to_exported` takes them.
        path: `.onnx` is added where it is missing; folders are made.

    Returns:
        The path written.

    Raises:
        ImportError: onnxscript is missing.
        ValueError: as `to_exported` does, or an operator that ONNX does not have.
        RuntimeError: the file's answers are not the model's.
        Unwritten: an `OSError`: there is no room, or no right to write there; the old file is as it was.
    """
    _check_installed()
    target = with_suffix(path, SUFFIX)
    program = _exported(model, episode, decompositions.for_onnx())
    _compare(model, episode, lambda x, y: program.module()(x, y), "the exported program")
    converted = _converted(program)
    with atomic_replace(target) as beside:
        converted.save(str(beside))
        answers = _session(beside)
        if answers is not None:
            _compare(model, episode, answers, "onnxruntime")
    return target


def _exported(
    model: GraphMethod, episode: Episode, instead: Mapping[Any, Any]
) -> torch.export.ExportedProgram:
    with _still(model):
        model(episode)  # what it refuses, it says itself
        names = {id(value): name for name, value in model.state_dict(keep_vars=True).items()}
        try:
            recorded = trace_operators(
                _fixed(model, episode),
                {"x": episode.x.clone(), "y": episode.y.clone()},
                names=names,
                instead=instead,
            )
        except TraceError as error:
            name = "the model" if model.spec is None else model.spec.name
            raise ValueError(
                f"{name} cannot be exported: {error}; keep it in torch, or take another method"
            ) from error
    return torch.export.export(_Program(recorded), (episode.x, episode.y), strict=False)


class _Program(nn.Module):
    """A recording under the names of its inputs."""

    def __init__(self, recorded: fx.GraphModule) -> None:
        super().__init__()
        self.recorded = recorded

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        logits: Tensor = self.recorded(x, y)
        return logits


def _fixed(model: GraphMethod, episode: Episode) -> Callable[[Tensor, Tensor], Tensor]:
    """The answers for items `x` with labels `y`: each item is put where the episode has one of its label."""
    kinds = _Kinds(episode)
    wanted = kinds(episode.y)
    order = torch.argsort(wanted, stable=True)
    back, ranked = torch.argsort(order), wanted[order]

    def answer(x: Tensor, y: Tensor) -> Tensor:
        given = kinds(y)
        if model.node_order_matters:
            found, right = x, (given == wanted).all()
        else:
            # Distinct numbers need no stable sort, which not every run time has.
            place = torch.argsort(given * len(y) + torch.arange(len(y), device=y.device))
            found, right = (
                x.index_select(0, place.index_select(0, back)),
                (given[place] == ranked).all(),
            )
        logits = model(episode.encode(lambda _: found)).logits
        return torch.where(right, logits, torch.nan)

    return answer


class _Kinds:
    """What a node is, as a number: its task, and in it a class, unlabeled, a query, or what may not be."""

    def __init__(self, episode: Episode) -> None:
        self.query, self.task = episode.query, episode.task
        self.way = max(episode.way)

    def __call__(self, y: Tensor) -> Tensor:
        wrong = self.way + 2
        asked = torch.where(y == UNKNOWN, self.way + 1, wrong)
        held = torch.where((y >= UNKNOWN) & (y < self.way), y + 1, wrong)
        return self.task * (wrong + 1) + torch.where(self.query, asked, held)


@contextmanager
def _still(model: GraphMethod) -> Iterator[None]:
    """The model in evaluation, none of its weights asking for gradients."""
    asking = [weight for weight in model.parameters() if weight.requires_grad]
    try:
        for weight in asking:
            weight.requires_grad_(False)
        with eval_mode(model):
            yield
    finally:
        for weight in asking:
            weight.requires_grad_(True)


def _compare(
    model: GraphMethod, episode: Episode, program: Callable[[Tensor, Tensor], Tensor], name: str
) -> None:
    """Answers to the episode and to another one of its size, the program's and the model's."""
    for given in (episode, _other(model, episode)):
        with eval_mode(model):
            ours = model(given).logits
        theirs = program(given.x, given.y).to(ours)
        off = (ours - theirs)[ours.isfinite()].abs().max()
        scale = ours[ours.isfinite()].abs().max().clamp_min(1)
        if not off <= TOLERANCE.get(ours.dtype, 1e-2) * scale:
            raise RuntimeError(
                f"{name} is off by {float(off):.2g} from logits up to {float(scale):.2g}; values leave "
                "torch on the way, or a solve is not precise enough; keep the model in torch"
            )


def _other(model: GraphMethod, episode: Episode) -> Episode:
    """The same items in turned order and, unless the method reads it, labels of each task the other way round."""
    y = episode.y.clone()
    if not model.node_order_matters:
        for task in range(episode.n_tasks):
            own = torch.nonzero((episode.task == task) & ~episode.query).flatten()
            y[own] = y[own].flip(0)
    return Episode(episode.x.flip(0), y, episode.query, episode.sizes, episode.way)


def _check_installed() -> None:
    from importlib.util import find_spec

    missing = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        raise ImportError(
            f'{missing[0]} is not installed, which writing ONNX needs; pip install "graphfew[onnx]"'
        )


def _converted(program: torch.export.ExportedProgram) -> Any:
    from torch.onnx.errors import OnnxExporterError

    try:
        with warnings.catch_warnings():
            # torch's own exporter meets torch's own deprecation.
            warnings.filterwarnings("ignore", ".*treespec, LeafSpec", FutureWarning)
            # Its optimizer takes an addition of 1e-12, which keeps a quotient finite, for one of 0, and drops it.
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
        words = str(error.__cause__ or error).strip().splitlines()[0]
        raise ValueError(
            f"ONNX has no operator for a step of this model: {words}; use to_exported"
        ) from error


def _session(path: Path) -> Callable[[Tensor, Tensor], Tensor] | None:
    """The file's answers by onnxruntime, or None where that is not installed."""
    try:
        import onnxruntime
    except ImportError:
        return None
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def answers(x: Tensor, y: Tensor) -> Tensor:
        (logits,) = session.run(["logits"], {"x": x.cpu().numpy(), "y": y.cpu().numpy()})
        return torch.from_numpy(logits)

    return answers
