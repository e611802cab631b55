"""The methods by name: a plain dict, with the facts that tables and commands show."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from graphfew import backbones
from graphfew._utils.model_spec import JSON, ModelSpec
from graphfew._utils.seeding import seeded
from graphfew.backbones.external import as_module
from graphfew.methods import (
    alpha_tim,
    attention_attractor,
    bd_cspn,
    dpgn,
    egnn,
    epnet,
    feat,
    gnn,
    hybrid_attention,
    induction,
    label_propagation,
    label_spreading,
    laplacian_shot,
    linear_head,
    matching,
    matching_fce,
    multi_metric,
    nearest_neighbor,
    pool_prototypes,
    propagated_prototypes,
    prototypical,
    pt_map,
    relation,
    siamese,
    simpleshot,
    soft_k_means,
    soft_k_means_cluster,
    soft_k_means_masked,
    tadam,
    tim,
    tpn,
)
from graphfew.methods.losses import (
    Loss,
    dpgn_loss,
    edge_loss,
    labeled_node_loss,
    node_loss,
    pair_loss,
    relation_loss,
)
from graphfew.nn.layers import METRICS
from graphfew.nn.method import GraphMethod


@dataclasses.dataclass(frozen=True)
class MethodSpec:
    """A method's factory and what it is.

    Shapes:
        factory: `factory(encoder, dim=..., **arguments) -> GraphMethod`.
        source: author, year.
        loss: the loss its paper trains it with; None where it needs no training.
        inductive, transductive: the modes it has; where it has both, the factory takes `transductive=`.
        fixed_way: its weights are tied to one number of classes, which the factory takes as `way=`.
        fixed_shot: its weights are tied to one number of supports per class, which the factory takes as `shot=`.
        unlabeled: it makes use of unlabeled nodes; one that does not refuses them.
        names_matter: renaming the classes may change its answers.
        order_matters: putting the nodes in another order may change its answers.
    """

    factory: Callable[..., GraphMethod]
    source: str
    loss: Loss | None
    inductive: bool = True
    transductive: bool = False
    fixed_way: bool = False
    fixed_shot: bool = False
    unlabeled: bool = False
    names_matter: bool = False
    order_matters: bool = False

    @property
    def trainable(self) -> bool:
        """Whether it has weights of its own or of its encoder to learn, with a loss to learn them by."""
        return self.loss is not None

    @property
    def takes(self) -> tuple[str, ...]:
        """The names of the arguments that the factory takes beside the encoder and its width."""
        return tuple(
            p for p in inspect.signature(self.factory).parameters if p not in ("encoder", "dim")
        )


METHODS: dict[str, MethodSpec] = {}


def register(name: str, method: MethodSpec) -> None:
    """Add a method under a new name.

    Raises:
        ValueError: the name is taken.
    """
    if name in METHODS:
        raise ValueError(f"a method called {name!r} is already registered; choose another name")
    METHODS[name] = method


def find_method(name: str) -> MethodSpec:
    """The method of that name. Raises ValueError, with the known names, where there is none."""
    if name not in METHODS:
        raise ValueError(f"no method is called {name!r}; known: {', '.join(sorted(METHODS))}")
    return METHODS[name]


def create(
    name: str,
    *,
    encoder: nn.Module | Callable[[Tensor], Tensor],
    dim: int | None = None,
    seed: int = 0,
    **arguments: Any,
) -> GraphMethod:
    """A method by name, its weights drawn from `seed`.

    Args:
        name: a registered name.
        encoder: `[N, ...] -> [N, dim]`; a backbone of `graphfew.backbones`, any module, or any function, which then has
            no weights to train or save.
        dim: the encoder's output width; a backbone knows its own.
        seed: of the method's own initial weights (an encoder has its own).
        arguments: for the method's factory.

    Raises:
        TypeError: an encoder that cannot be called.
        ValueError: an unknown name, an encoder of unknown width, or an argument that the factory does not take.
    """
    method = find_method(name)
    kind = type(encoder).__name__ if isinstance(encoder, nn.Module) else "function"
    encoder = as_module(encoder, dim)
    unknown = sorted(set(arguments) - set(method.takes))
    if unknown:
        raise ValueError(
            f"{name} has no argument {unknown[0]!r}; it takes: {', '.join(method.takes) or 'none'}"
        )
    width = dim if dim is not None else getattr(encoder, "out_dim", None)
    if width is None:
        raise ValueError(
            f"the encoder is a {kind}, which does not tell its output width; pass dim="
        )
    with seeded(seed):
        model = method.factory(encoder, dim=width, **arguments)
    model.spec = _recipe(name, encoder, arguments)
    return model


def rebuild(recipe: ModelSpec) -> GraphMethod:
    """The model that a recipe of `create` describes, with fresh weights. Raises ValueError as `create` does."""
    arguments = {key: _revive(value) for key, value in recipe.arguments.items() if key != "encoder"}
    match recipe.arguments.get("encoder"):
        case {"name": str(name), "arguments": Mapping() as options}:
            return create(recipe.name, encoder=backbones.create(name, **options), **arguments)
    raise ValueError(
        f"the recipe of {recipe.name} names no encoder; give one of the graphfew version that wrote it"
    )


def _recipe(name: str, encoder: nn.Module, arguments: Mapping[str, Any]) -> ModelSpec | None:
    own = getattr(encoder, "spec", None)
    named = {fn: key for key, fn in METRICS.items()}
    plain = {
        key: {"metric": named[value]} if callable(value) and value in named else value
        for key, value in arguments.items()
    }
    if own is None or any(callable(value) for value in plain.values()):
        return None
    return ModelSpec(
        name, {**plain, "encoder": {"name": own.name, "arguments": dict(own.arguments)}}
    )


def _revive(value: JSON) -> Any:
    if isinstance(value, Mapping) and "metric" in value:
        return METRICS[str(value["metric"])]
    return value


register(
    "alpha_tim",
    MethodSpec(alpha_tim, "Veilleux et al. 2021", None, inductive=False, transductive=True),
)
register("attention_attractor", MethodSpec(attention_attractor, "Ren et al. 2019", node_loss))
register(
    "bd_cspn", MethodSpec(bd_cspn, "Liu et al. 2020", None, inductive=False, transductive=True)
)
register(
    "dpgn",
    MethodSpec(
        dpgn,
        "Yang et al. 2020",
        dpgn_loss,
        transductive=True,
        fixed_way=True,
        fixed_shot=True,
        names_matter=True,
        order_matters=True,
    ),
)
register("egnn", MethodSpec(egnn, "Kim et al. 2019", edge_loss, transductive=True, unlabeled=True))
register(
    "epnet",
    MethodSpec(epnet, "Rodríguez et al. 2020", node_loss, transductive=True, unlabeled=True),
)
register("feat", MethodSpec(feat, "Ye et al. 2020", node_loss))
register(
    "gnn",
    MethodSpec(
        gnn,
        "Garcia, Bruna 2018",
        node_loss,
        transductive=True,
        fixed_way=True,
        unlabeled=True,
        names_matter=True,
    ),
)
register(
    "hybrid_attention",
    MethodSpec(hybrid_attention, "Gao et al. 2019", node_loss, fixed_shot=True, order_matters=True),
)
register("induction", MethodSpec(induction, "Geng et al. 2019", relation_loss))
register(
    "label_propagation",
    MethodSpec(label_propagation, "Zhu et al. 2003", None, transductive=True, unlabeled=True),
)
register(
    "label_spreading",
    MethodSpec(label_spreading, "Zhou et al. 2004", None, transductive=True, unlabeled=True),
)
register(
    "laplacian_shot",
    MethodSpec(
        laplacian_shot, "Ziko et al. 2020", None, inductive=False, transductive=True, unlabeled=True
    ),
)
register("linear_head", MethodSpec(linear_head, "Tian et al. 2020", None))
register("matching", MethodSpec(matching, "Vinyals et al. 2016", node_loss))
register(
    "matching_fce", MethodSpec(matching_fce, "Vinyals et al. 2016", node_loss, order_matters=True)
)
register("multi_metric", MethodSpec(multi_metric, "Yu et al. 2018", node_loss))
register("nearest_neighbor", MethodSpec(nearest_neighbor, "Cover, Hart 1967", None))
register(
    "pool_prototypes",
    MethodSpec(
        pool_prototypes, "Hu et al. 2021; Ren et al. 2018", None, transductive=True, unlabeled=True
    ),
)
register(
    "propagated_prototypes",
    MethodSpec(
        propagated_prototypes,
        "Rodríguez et al. 2020; Hu et al. 2021",
        None,
        inductive=False,
        transductive=True,
        unlabeled=True,
    ),
)
register("prototypical", MethodSpec(prototypical, "Snell et al. 2017", node_loss))
register(
    "pt_map",
    MethodSpec(pt_map, "Hu et al. 2021", None, inductive=False, transductive=True, unlabeled=True),
)
register("relation", MethodSpec(relation, "Sung et al. 2018", relation_loss))
register("siamese", MethodSpec(siamese, "Koch et al. 2015", pair_loss))
register("simpleshot", MethodSpec(simpleshot, "Wang et al. 2019", None))
register("soft_k_means", MethodSpec(soft_k_means, "Ren et al. 2018", node_loss, unlabeled=True))
register(
    "soft_k_means_cluster",
    MethodSpec(soft_k_means_cluster, "Ren et al. 2018", node_loss, unlabeled=True),
)
register(
    "soft_k_means_masked",
    MethodSpec(soft_k_means_masked, "Ren et al. 2018", node_loss, unlabeled=True),
)
register("tadam", MethodSpec(tadam, "Oreshkin et al. 2018", node_loss))
register("tim", MethodSpec(tim, "Boudiaf et al. 2020", None, inductive=False, transductive=True))
register(
    "tpn", MethodSpec(tpn, "Liu et al. 2019", labeled_node_loss, transductive=True, unlabeled=True)
)
