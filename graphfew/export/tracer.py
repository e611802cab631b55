"""Recording what a function does to tensors, as a graph of torch's own operators that anything may run again.

Whatever does not hang on the inputs is worked out once and becomes a constant, so that index arithmetic over labels and
sizes, however dynamic, leaves no trace; whatever hangs on them is an operator of the graph.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from graphfew.errors import GraphfewError

Replacement = Callable[..., Any]
# They read a tensor's memory past every operator, so a recording would take what they give for a constant.
READERS = frozenset({torch.Tensor.numpy, torch.Tensor.tolist, torch.Tensor.__array__})


class TraceError(GraphfewError, ValueError):
    """The function decides by values, or leaves torch: one recording does not tell what it does to other inputs."""


def trace_operators(
    fn: Callable[..., Tensor],
    inputs: Mapping[str, Tensor],
    *,
    names: Mapping[int, str],
    instead: Mapping[Any, Replacement],
) -> fx.GraphModule:
    """What `fn` does to the inputs, for any of the same shapes and dtypes.

    Args:
        fn: takes the inputs in order; nothing that it uses may require gradients.
        inputs: by name.
        names: of weights, by the `id` of the tensor; other constants are numbered.
        instead: functions of torch to be replaced by one in plainer operators.

    Raises:
        Unrecordable: control flow, or the shape of a result, that hangs on values of the inputs, or values that leave
            torch.
    """
    recorder = _Recorder(names)
    for name, value in inputs.items():
        recorder.follow(value, recorder.graph.placeholder(name))
    # With gradients a model takes its straight way, without buffers that it writes over.
    with torch.enable_grad(), _Replacing(recorder, instead), recorder:
        out = fn(*inputs.values())
    if not recorder.follows(out):
        raise TraceError("the answer does not hang on the items, as far as torch can see")
    recorder.graph.output(recorder.node(out))
    recorder.graph.eliminate_dead_code()
    return fx.GraphModule(recorder.root, recorder.graph)


class _Recorder(TorchDispatchMode):
    """Runs every operator, and notes those that hang on an input."""

    def __init__(self, names: Mapping[int, str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.graph, self.root, self.names = fx.Graph(), nn.Module(), names
        self._nodes: dict[int, fx.Node] = {}
        # An id is a tensor's own for as long as the tensor lives.
        self._alive: list[Tensor] = []
        self._constants: dict[int, str] = {}

    def follow(self, value: Tensor, node: fx.Node) -> None:
        """Take `node` for this tensor from now on."""
        self._nodes[id(value)] = node
        self._alive.append(value)

    def follows(self, value: Any) -> bool:
        """Whether it is a tensor that hangs on an input."""
        return isinstance(value, Tensor) and id(value) in self._nodes

    def node(self, value: Tensor) -> fx.Node:
        """The node of a tensor; a constant for one that does not hang on any input."""
        if id(value) in self._nodes:
            return self._nodes[id(value)]
        if id(value) not in self._constants:
            name = self.names.get(id(value), f"constant_{len(self._constants)}").replace(".", "_")
            self.root.register_buffer(name, value.detach().clone())
            self._constants[id(value)] = name
            self._alive.append(value)
        return self.graph.get_attr(self._constants[id(value)])

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        flat, spec = pytree.tree_flatten((args, dict(kwargs or {})))
        if not any(self.follows(value) for value in flat):
            return func(*args, **(kwargs or {}))
        self._check(func, args)
        out = func(*args, **(kwargs or {}))
        if out is None:
            return None
        if func is torch.ops.aten.index.Tensor:
            flat, spec = pytree.tree_flatten(((args[0], _places(args[1])), {}))
        noted, named = pytree.tree_unflatten(
            [self.node(v) if isinstance(v, Tensor) else v for v in flat], spec
        )
        node = self.graph.call_function(func, noted, named)
        if isinstance(out, Tensor):
            self.follow(out, node)
            return out
        for index, value in enumerate(out):
            if isinstance(value, Tensor):
                self.follow(value, self.graph.call_function(operator.getitem, (node, index)))
        return out

    def _check(self, func: Any, args: tuple[Any, ...]) -> None:
        name = str(func).removeprefix("aten.")
        by_mask = func is torch.ops.aten.index.Tensor and any(
            index is not None and index.dtype == torch.bool and self.follows(index)
            for index in args[1]
        )
        dynamic = (
            torch.Tag.dynamic_output_shape in func.tags and func is not torch.ops.aten.index.Tensor
        )
        if by_mask or dynamic or torch.Tag.data_dependent_output in func.tags:
            raise TraceError(f"what is to be done hangs on the items' values ({name})")
        for argument, value in zip(func._schema.arguments, args, strict=False):
            written = argument.alias_info is not None and argument.alias_info.is_write
            if written and isinstance(value, Tensor) and not self.follows(value):
                raise TraceError(f"{name} writes into a tensor that was there before the items")


def _places(indices: Sequence[Tensor | None]) -> list[Tensor | None]:
    """The indices, with masks as the places that they mark: of a mask, exporters cannot know how many there are."""
    found: list[Tensor | None] = []
    for index in indices:
        found += (
            [index] if index is None or index.dtype != torch.bool else index.nonzero(as_tuple=True)
        )
    return found


class _Replacing(TorchFunctionMode):
    """Puts plainer functions in the place of torch's, and refuses those that read values past every operator."""

    def __init__(self, recorder: _Recorder, instead: Mapping[Any, Replacement]) -> None:
        super().__init__()
        self.recorder, self.instead = recorder, instead

    def __torch_function__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func in READERS and self.recorder.follows(args[0]):
            raise TraceError(f"the items' values leave torch (by {func.__name__})")
        return self.instead.get(func, func)(*args, **(kwargs or {}))
