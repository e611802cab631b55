"""The methods by name: a plain dict, with the facts that tables and commands show."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from graphfew import backbones
from graphfew.encoders import as_module
from graphfew.layers import METRICS
from graphfew.losses import (
    Loss,
    dpgn_loss,
    edge_loss,
    known_nodes_loss,
    node_loss,
    pair_loss,
    relation_loss,
)
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
    nearest_neighbour,
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
from graphfew.model import GraphMethod
from graphfew.recipe import JSON, Recipe
from graphfew.seeding import seeded


@dataclasses.dataclass(frozen=True)
class Method:
    """A method's factory and what it is.

    Shapes:
        factory: `factory(encoder, dim=..., **arguments) -> GraphMethod`.
        source: author, year.
        loss: the loss its paper trains it with; None where it needs no training.
        inductive, transductive: the modes it has; where it has both, the factory takes `transductive=`.
        fixed_way: its weights are tied to one number of classes, which the factory takes as `way=`.
        fixed_shot: its weights are tied to one number of supports per class, which the factory takes as `shot=`.
        unlabelled: it makes use of unlabelled nodes; one that does not refuses them.
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
    unlabelled: bool = False
    names_matter: bool = False
    order_matters: bool = False

    @property
    def trainable(self) -> bool:
        """Whether it has weights of its own or of its encoder to learn, with a loss to learn them by."""
        return self.loss is not None

    @property
    def takes(self) -> tuple[str, ...]:
        """The names of the arguments that the factory takes beside the encoder and its width."""
        return tuple(p for p in inspect.signature(self.factory).parameters if p not in ("encoder", "dim"))


METHODS: dict[str, Method] = {}


def register(name: str, method: Method) -> None:
    """Add a method under a new name.

    Raises:
        ValueError: the name is taken.
    """
    if name in METHODS:
        raise ValueError(f"a method called {name!r} is already registered; choose another name")
    METHODS[name] = method


def find(name: str) -> Method:
    """The method of that name. Raises ValueError, with the known names, where there is none."""
    if name not in METHODS:
        raise ValueError(f"no method is called {name!r}; known: {', '.join(sorted(METHODS))}")
    return METHODS[name]


def create(name: str, *, encoder: nn.Module | Callable[[Tensor], Tensor], dim: int | None = None, seed: int = 0,
           **arguments: Any) -> GraphMethod:
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
    method = find(name)
    kind = type(encoder).__name__ if isinstance(encoder, nn.Module) else "function"
    encoder = as_module(encoder, dim)
    unknown = sorted(set(arguments) - set(method.takes))
    if unknown:
        raise ValueError(f"{name} has no argument {unknown[0]!r}; it takes: {', '.join(method.takes) or 'none'}")
    width = dim if dim is not None else getattr(encoder, "out_dim", None)
    if width is None:
        raise ValueError(f"the encoder is a {kind}, which does not tell its output width; pass dim=")
    with seeded(seed):
        model = method.factory(encoder, dim=width, **arguments)
    model.recipe = _recipe(name, encoder, arguments)
    return model


def rebuild(recipe: Recipe) -> GraphMethod:
    """The model that a recipe of `create` describes, with fresh weights. Raises ValueError as `create` does."""
    arguments = {key: _revive(value) for key, value in recipe.arguments.items() if key != "encoder"}
    match recipe.arguments.get("encoder"):
        case {"name": str(name), "arguments": Mapping() as options}:
            return create(recipe.name, encoder=backbones.create(name, **options), **arguments)
    raise ValueError(f"the recipe of {recipe.name} names no encoder; give one of the graphfew version that wrote it")


def _recipe(name: str, encoder: nn.Module, arguments: Mapping[str, Any]) -> Recipe | None:
    own = getattr(encoder, "recipe", None)
    named = {fn: key for key, fn in METRICS.items()}
    plain = {key: {"metric": named[value]} if callable(value) and value in named else value
             for key, value in arguments.items()}
    if own is None or any(callable(value) for value in plain.values()):
        return None
    return Recipe(name, {**plain, "encoder": {"name": own.name, "arguments": dict(own.arguments)}})


def _revive(value: JSON) -> Any:
    if isinstance(value, Mapping) and "metric" in value:
        return METRICS[str(value["metric"])]
    return value


register("alpha_tim", Method(alpha_tim, "Veilleux et al. 2021", None, inductive=False, transductive=True))
register("attention_attractor", Method(attention_attractor, "Ren et al. 2019", node_loss))
register("bd_cspn", Method(bd_cspn, "Liu et al. 2020", None, inductive=False, transductive=True))
register("dpgn", Method(dpgn, "Yang et al. 2020", dpgn_loss, transductive=True, fixed_way=True, fixed_shot=True,
                        names_matter=True, order_matters=True))
register("egnn", Method(egnn, "Kim et al. 2019", edge_loss, transductive=True, unlabelled=True))
register("epnet", Method(epnet, "Rodríguez et al. 2020", node_loss, transductive=True, unlabelled=True))
register("feat", Method(feat, "Ye et al. 2020", node_loss))
register("gnn", Method(gnn, "Garcia, Bruna 2018", node_loss, transductive=True, fixed_way=True, unlabelled=True,
                       names_matter=True))
register("hybrid_attention", Method(hybrid_attention, "Gao et al. 2019", node_loss, fixed_shot=True,
                                    order_matters=True))
register("induction", Method(induction, "Geng et al. 2019", relation_loss))
register("label_propagation", Method(label_propagation, "Zhu et al. 2003", None, transductive=True, unlabelled=True))
register("label_spreading", Method(label_spreading, "Zhou et al. 2004", None, transductive=True, unlabelled=True))
register("laplacian_shot", Method(laplacian_shot, "Ziko et al. 2020", None, inductive=False, transductive=True,
                                  unlabelled=True))
register("linear_head", Method(linear_head, "Tian et al. 2020", None))
register("matching", Method(matching, "Vinyals et al. 2016", node_loss))
register("matching_fce", Method(matching_fce, "Vinyals et al. 2016", node_loss, order_matters=True))
register("multi_metric", Method(multi_metric, "Yu et al. 2018", node_loss))
register("nearest_neighbour", Method(nearest_neighbour, "Cover, Hart 1967", None))
register("pool_prototypes", Method(pool_prototypes, "Hu et al. 2021; Ren et al. 2018", None, transductive=True,
                                   unlabelled=True))
register("propagated_prototypes", Method(propagated_prototypes, "Rodríguez et al. 2020; Hu et al. 2021", None,
                                         inductive=False, transductive=True, unlabelled=True))
register("prototypical", Method(prototypical, "Snell et al. 2017", node_loss))
register("pt_map", Method(pt_map, "Hu et al. 2021", None, inductive=False, transductive=True, unlabelled=True))
register("relation", Method(relation, "Sung et al. 2018", relation_loss))
register("siamese", Method(siamese, "Koch et al. 2015", pair_loss))
register("simpleshot", Method(simpleshot, "Wang et al. 2019", None))
register("soft_k_means", Method(soft_k_means, "Ren et al. 2018", node_loss, unlabelled=True))
register("soft_k_means_cluster", Method(soft_k_means_cluster, "Ren et al. 2018", node_loss, unlabelled=True))
register("soft_k_means_masked", Method(soft_k_means_masked, "Ren et al. 2018", node_loss, unlabelled=True))
register("tadam", Method(tadam, "Oreshkin et al. 2018", node_loss))
register("tim", Method(tim, "Boudiaf et al. 2020", None, inductive=False, transductive=True))
register("tpn", Method(tpn, "Liu et al. 2019", known_nodes_loss, transductive=True, unlabelled=True))
