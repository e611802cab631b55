"""The registry of methods: `register_method` adds one, `create` builds one by its name."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from torch import Tensor, nn

from graphfew import backbones
from graphfew._utils.model_spec import JSON, ModelSpec
from graphfew._utils.seeding import seeded
from graphfew.backbones.external import as_module
from graphfew.errors import InvalidInputError
from graphfew.methods._argument_types import check_argument_types
from graphfew.methods.losses import Loss
from graphfew.nn.batch_norm_rules import BATCH_NORM_RULES
from graphfew.nn.classifier_starts import CLASSIFIER_STARTS
from graphfew.nn.layers import METRICS
from graphfew.nn.method import GraphMethod
from graphfew.nn.step_sizes import RATE_UNITS, STEP_SIZES

MethodFactory = Callable[..., GraphMethod]
FactoryT = TypeVar("FactoryT", bound=MethodFactory)
# Arguments that are functions, and the names by which specs and configurations store them.
NAMED_FUNCTIONS: Mapping[str, Mapping[str, Callable[..., Any]]] = MappingProxyType(
    {
        "metric": METRICS,
        "start": CLASSIFIER_STARTS,
        "step_sizes": STEP_SIZES,
        "rate_unit": RATE_UNITS,
        "batch_norm": BATCH_NORM_RULES,
    }
)


@dataclasses.dataclass(frozen=True)
class MethodSpec:
    """A registered method: its factory and its capabilities.

    Attributes:
        factory: `factory(encoder, *, dim, **arguments) -> GraphMethod`.
        paper: authors and year of the paper, such as `"Kim et al. 2019"`.
        loss: the loss that the paper trains with; None if the method needs no training.
        inductive: whether the method can predict each query separately.
        transductive: whether the method can predict all queries of a task together. A method
            with both modes has a factory argument `transductive`.
        fixed_way: whether the weights depend on the number of classes, the factory argument `way`.
        fixed_shot: whether the weights depend on the number of supports per class, the factory
            argument `shot`.
        unlabeled: whether the method uses unlabeled nodes; if not, it rejects them.
        class_order_matters: whether renumbering the classes can change predictions.
        node_order_matters: whether reordering the nodes can change predictions.
        works_untrained: whether the method has weights to train whose initial values already
            predict well on good features, so that `FewShotClassifier` accepts the method.

    Example:
        >>> import graphfew as gf
        >>> spec = gf.METHODS["egnn"]
        >>> spec.paper, spec.transductive, spec.fixed_way
        ('Kim et al. 2019', True, False)
    """

    factory: MethodFactory
    paper: str
    loss: Loss | None = None
    inductive: bool = True
    transductive: bool = False
    fixed_way: bool = False
    fixed_shot: bool = False
    unlabeled: bool = False
    class_order_matters: bool = False
    node_order_matters: bool = False
    works_untrained: bool = False

    @property
    def needs_training(self) -> bool:
        """Whether the method has a loss to be trained with."""
        return self.loss is not None

    @property
    def argument_names(self) -> tuple[str, ...]:
        """The factory's arguments besides the encoder and its output width."""
        parameters = inspect.signature(self.factory).parameters
        return tuple(name for name in parameters if name not in ("encoder", "dim"))


METHODS: dict[str, MethodSpec] = {}


def register_method(
    *, paper: str, loss: Loss | None = None, **capabilities: bool
) -> Callable[[FactoryT], FactoryT]:
    """Register the decorated factory as a method under the factory's own name.

    Args:
        paper: authors and year of the paper.
        loss: the loss to train with; None for a method that needs no training.
        capabilities: the boolean fields of `MethodSpec`, such as `transductive=True`.

    Returns:
        A decorator that returns the factory unchanged.

    Raises:
        InvalidInputError: a method with the same name is already registered.
        TypeError: a capability that is not a field of `MethodSpec`.

    Example:
        >>> import graphfew as gf
        >>> @gf.register_method(paper="none", loss=gf.node_loss)
        ... def scaled_prototypes(encoder, *, dim, scale: float = 2.0):
        ...     return gf.methods.prototypical(encoder, dim=dim, scale=scale)
        >>> gf.METHODS["scaled_prototypes"].argument_names
        ('scale',)
        >>> del gf.METHODS["scaled_prototypes"]
    """

    def register(factory: FactoryT) -> FactoryT:
        name = factory.__name__
        if name in METHODS:
            raise InvalidInputError(
                f"a method named {name!r} is already registered; rename the decorated function"
            )
        METHODS[name] = MethodSpec(factory, paper, loss, **capabilities)
        return factory

    return register


def find_method(name: str) -> MethodSpec:
    """Look up a registered method.

    Args:
        name: the method's name, such as `"egnn"`.

    Returns:
        The method's entry in `METHODS`.

    Raises:
        InvalidInputError: an unknown name; the message lists the registered ones.

    Example:
        >>> from graphfew.methods.registry import find_method
        >>> find_method("siamese").paper
        'Koch et al. 2015'
    """
    if name not in METHODS:
        raise InvalidInputError(
            f"unknown method {name!r}; expected one of: {', '.join(sorted(METHODS))}"
        )
    return METHODS[name]


def create(
    name: str,
    *,
    encoder: nn.Module | Callable[[Tensor], Tensor],
    dim: int | None = None,
    seed: int = 0,
    **arguments: Any,
) -> GraphMethod:
    """Build a registered method on top of an encoder.

    Args:
        name: a registered name.
        encoder: `[N, ...] -> [N, dim]`; a backbone of `graphfew.backbones`, any module, or any
            function. A function has no weights to train or save.
        dim: the encoder's output width; may be omitted for backbones, which have `out_dim`.
        seed: seed of the method's initial weights (the encoder is initialized by its factory).
        arguments: arguments of the method's factory.

    Returns:
        The method, in training mode.

    Raises:
        InvalidTypeError: the encoder is not callable, or an argument has the wrong type.
        InvalidInputError: an unknown name, an encoder of unknown output width, or an argument that
            the factory does not have.

    Example:
        >>> import graphfew as gf
        >>> tasks = gf.Tasks(gf.data.glyphs(split="test"), way=5, shot=1, query=3, seed=0)
        >>> episode, target = tasks.batch(range(2))
        >>> model = gf.create("egnn", encoder=gf.backbones.conv4(width=16), width=32)
        >>> model.eval()(episode).logits.shape
        torch.Size([30, 5])
    """
    method = find_method(name)
    encoder_type = type(encoder).__name__ if isinstance(encoder, nn.Module) else "function"
    encoder = as_module(encoder, dim)
    unknown = sorted(set(arguments) - set(method.argument_names))
    if unknown:
        expected = ", ".join(method.argument_names) or "none"
        raise InvalidInputError(
            f"{name} has no argument {unknown[0]!r}; expected one of: {expected}"
        )
    check_argument_types(name, method.factory, arguments)
    out_dim = dim if dim is not None else getattr(encoder, "out_dim", None)
    if out_dim is None:
        raise InvalidInputError(
            f"the encoder, a {encoder_type}, has no attribute out_dim; pass its output width as "
            "dim="
        )
    with seeded(seed):
        model = method.factory(encoder, dim=out_dim, **arguments)
    model.spec = _model_spec(name, encoder, arguments)
    model.has_both_modes = method.inductive and method.transductive
    return model


def rebuild(spec: ModelSpec) -> GraphMethod:
    """Build the model that a spec describes, with newly initialized weights.

    Args:
        spec: the `spec` of a model that `create` built.

    Returns:
        A model with the same architecture.

    Raises:
        InvalidInputError: a spec without an encoder, or the reasons of `create`.

    Example:
        >>> import graphfew as gf
        >>> from graphfew.methods.registry import rebuild
        >>> model = gf.create("gnn", encoder=gf.backbones.identity(4), way=3)
        >>> rebuild(model.spec).spec == model.spec
        True
    """
    arguments = {key: _decode_argument(value) for key, value in spec.arguments.items()}
    # `GraphMethod.in_mode` writes `unlabeled`; no factory has such an argument.
    unlabeled = arguments.pop("unlabeled", None)
    match arguments.pop("encoder", None):
        case {"name": str(name), "arguments": Mapping() as options}:
            encoder = backbones.create(name, **options)
            model = create(spec.name, encoder=encoder, **arguments)
            return model if unlabeled is None else model.in_mode(unlabeled=bool(unlabeled))
    raise InvalidInputError(
        f"the spec of {spec.name} has no valid encoder; load it with the graphfew version that "
        f"wrote it"
    )


def _model_spec(name: str, encoder: nn.Module, arguments: Mapping[str, Any]) -> ModelSpec | None:
    """The spec of a model, or None if its encoder or an argument cannot be written as JSON."""
    encoder_spec = getattr(encoder, "spec", None)
    if encoder_spec is None:
        return None
    encoded: dict[str, JSON] = {}
    for key, value in arguments.items():
        if not callable(value):
            encoded[key] = value
            continue
        stored = _function_name(value)
        if stored is None:
            return None
        encoded[key] = stored
    encoded["encoder"] = {"name": encoder_spec.name, "arguments": dict(encoder_spec.arguments)}
    return ModelSpec(name, encoded)


def _function_name(function: Callable[..., Any]) -> dict[str, JSON] | None:
    """Return `{"metric": name}` for a metric, and so for the other kinds; None if it has no name."""
    for kind, functions in NAMED_FUNCTIONS.items():
        for name, named in functions.items():
            if named is function:
                return {kind: name}
    return None


def _decode_argument(value: JSON) -> Any:
    """Turn `{"metric": name}` into the metric, and so for the other kinds; return other values."""
    if isinstance(value, Mapping):
        for kind, functions in NAMED_FUNCTIONS.items():
            if kind in value:
                return functions[str(value[kind])]
    return value
