"""Tracing of a function on tensors into a graph of ATen operators.

Results that do not depend on the inputs become constants. Index arithmetic over sizes, however
dynamic, is thus evaluated while tracing, which `torch.export` alone would reject. Everything that
depends on the inputs becomes an operator of the graph.
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
# They read the memory of a tensor without an operator, so the tracer would take what they return
# for a constant.
MEMORY_READERS = frozenset({torch.Tensor.numpy, torch.Tensor.tolist, torch.Tensor.__array__})
INDEX = torch.ops.aten.index.Tensor


class TraceError(GraphfewError, ValueError):
    """A function cannot be traced: its control flow or shapes depend on values, or values leave torch.

    Example:
        >>> issubclass(TraceError, ValueError)
        True
    """


def trace_operators(
    fn: Callable[..., Tensor],
    inputs: Mapping[str, Tensor],
    *,
    names: Mapping[int, str],
    replacements: Mapping[Any, Replacement],
) -> fx.GraphModule:
    """Trace a function into a graph that is valid for all inputs of the same shapes and dtypes.

    Args:
        fn: called with the inputs in order. No tensor that it uses may require gradients.
        inputs: example inputs by name.
        names: names of weights, by the `id` of the tensor; other constants are numbered.
        replacements: functions of torch and what to call instead of them.

    Returns:
        The graph, a module that takes the inputs in order.

    Raises:
        TraceError: control flow or the shape of a result depends on values of the inputs, or values
            leave torch.

    Example:
        >>> import torch
        >>> x = torch.arange(3.0)
        >>> graph = trace_operators(lambda x: 2 * x + 1, {"x": x}, names={}, replacements={})
        >>> graph(torch.ones(3))
        tensor([3., 3., 3.])
    """
    recorder = _Recorder(names)
    for name, value in inputs.items():
        recorder.track(value, recorder.graph.placeholder(name))
    # With gradients enabled, models avoid in-place operations on buffers, which cannot be traced.
    with torch.enable_grad(), _Replacer(recorder, replacements), recorder:
        result = fn(*inputs.values())
    if not recorder.is_tracked(result):
        raise TraceError("the result does not depend on the inputs by operators of torch")
    recorder.graph.output(recorder.node(result))
    recorder.graph.eliminate_dead_code()
    return fx.GraphModule(recorder.root, recorder.graph)


class _Recorder(TorchDispatchMode):
    """Runs every operator and records those whose arguments depend on an input.

    `__torch_dispatch__` sees ATen operators after autograd and composite functions are resolved, so
    the graph needs no tracing of Python code: loops and branches simply run.
    """

    def __init__(self, names: Mapping[int, str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.graph = fx.Graph()
        self.root = nn.Module()
        self.names = names
        # Tensors are identified by `id`. An id is reused once its tensor is freed, so every tensor
        # whose id is stored is kept alive until tracing ends.
        self._nodes: dict[int, fx.Node] = {}
        self._constants: dict[int, str] = {}
        self._alive: list[Tensor] = []

    def track(self, value: Tensor, node: fx.Node) -> None:
        """Associate a tensor with a node of the graph."""
        self._nodes[id(value)] = node
        self._alive.append(value)

    def is_tracked(self, value: Any) -> bool:
        """Whether a value is a tensor that depends on an input."""
        return isinstance(value, Tensor) and id(value) in self._nodes

    def node(self, value: Tensor) -> fx.Node:
        """The node of a tensor; a constant if it does not depend on an input."""
        if id(value) in self._nodes:
            return self._nodes[id(value)]
        if id(value) not in self._constants:
            default = f"constant_{len(self._constants)}"
            name = self.names.get(id(value), default).replace(".", "_")
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
        kwargs = dict(kwargs or {})
        flat, _ = pytree.tree_flatten((args, kwargs))
        if not any(self.is_tracked(value) for value in flat):
            # Independent of the inputs: the result is a constant, created by `node` if it is used.
            return func(*args, **kwargs)
        self._check(func, args)
        result = func(*args, **kwargs)
        if result is None:
            return None
        node = self._record(func, args, kwargs)
        if isinstance(result, Tensor):
            self.track(result, node)
            return result
        for index, value in enumerate(result):
            if isinstance(value, Tensor):
                self.track(value, self.graph.call_function(operator.getitem, (node, index)))
        return result

    def _record(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> fx.Node:
        if func is INDEX:
            args = (args[0], _masks_to_indices(args[1]))
        flat, spec = pytree.tree_flatten((args, kwargs))
        nodes = [self.node(value) if isinstance(value, Tensor) else value for value in flat]
        node_args, node_kwargs = pytree.tree_unflatten(nodes, spec)
        return self.graph.call_function(func, node_args, node_kwargs)

    def _check(self, func: Any, args: tuple[Any, ...]) -> None:
        """Raise TraceError if one recording is not valid for other values of the inputs."""
        name = str(func).removeprefix("aten.")
        if func is INDEX:
            # Its shape is dynamic for boolean masks only; those that are constants are fine.
            is_dynamic = any(
                index is not None and index.dtype == torch.bool and self.is_tracked(index)
                for index in args[1]
            )
        else:
            is_dynamic = torch.Tag.dynamic_output_shape in func.tags
        # Operators such as `item` return values to Python, where they may decide anything.
        if is_dynamic or torch.Tag.data_dependent_output in func.tags:
            raise TraceError(f"control flow or a shape depends on the items' values ({name})")
        # A tensor that existed before would be a constant of the graph, so the write would be lost.
        for argument, value in zip(func._schema.arguments, args, strict=False):
            is_written = argument.alias_info is not None and argument.alias_info.is_write
            if is_written and isinstance(value, Tensor) and not self.is_tracked(value):
                raise TraceError(f"{name} writes into a tensor that does not depend on the items")


def _masks_to_indices(indices: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Replace boolean masks by indices: exporters cannot know how many elements a mask selects."""
    converted: list[Tensor | None] = []
    for index in indices:
        if index is not None and index.dtype == torch.bool:
            converted.extend(index.nonzero(as_tuple=True))
        else:
            converted.append(index)
    return converted


class _Replacer(TorchFunctionMode):
    """Calls replacements of torch functions, and rejects those that read memory directly.

    It works one level above `__torch_dispatch__`, where functions are not yet decomposed.
    """

    def __init__(self, recorder: _Recorder, replacements: Mapping[Any, Replacement]) -> None:
        super().__init__()
        self.recorder = recorder
        self.replacements = replacements

    def __torch_function__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func in MEMORY_READERS and self.recorder.is_tracked(args[0]):
            raise TraceError(f"the items' values leave torch (by {func.__name__})")
        replacement = self.replacements.get(func, func)
        return replacement(*args, **(kwargs or {}))
