"""One file per paper, each with a factory that returns a `GraphMethod`."""

from graphfew.methods.alpha_tim import alpha_tim
from graphfew.methods.anil import anil
from graphfew.methods.attention_attractor import attention_attractor
from graphfew.methods.attention_weight_generator import attention_weight_generator
from graphfew.methods.bd_cspn import bd_cspn
from graphfew.methods.boil import boil
from graphfew.methods.bpa import bpa
from graphfew.methods.cavia import cavia
from graphfew.methods.dpgn import dpgn
from graphfew.methods.egnn import egnn
from graphfew.methods.em_dirichlet import em_dirichlet, hard_em_dirichlet
from graphfew.methods.epnet import epnet
from graphfew.methods.feat import feat
from graphfew.methods.film_adaptation import film_adaptation
from graphfew.methods.gnn import gnn
from graphfew.methods.hsml import hsml
from graphfew.methods.hybrid_attention import hybrid_attention
from graphfew.methods.hypernetwork import hypernetwork
from graphfew.methods.image_distortion import image_distortion
from graphfew.methods.imaml import imaml
from graphfew.methods.imprinting import imprinting
from graphfew.methods.induction import induction
from graphfew.methods.label_propagation import label_propagation
from graphfew.methods.label_spreading import label_spreading
from graphfew.methods.laplacian_shot import laplacian_shot
from graphfew.methods.leo import leo
from graphfew.methods.linear_head import linear_head
from graphfew.methods.logistic import logistic
from graphfew.methods.losses import (
    dpgn_loss,
    edge_loss,
    edge_node_loss,
    labeled_node_loss,
    multi_step_loss,
    multi_step_weights,
    node_loss,
    pair_loss,
    penalized_node_loss,
    relation_loss,
)
from graphfew.methods.maml import maml
from graphfew.methods.maml_plus_plus import maml_plus_plus
from graphfew.methods.mann import mann
from graphfew.methods.matching import matching, matching_fce
from graphfew.methods.meta_lstm import meta_lstm
from graphfew.methods.meta_networks import meta_networks
from graphfew.methods.meta_sgd import meta_sgd
from graphfew.methods.metaoptnet import metaoptnet_ridge, metaoptnet_svm
from graphfew.methods.multi_metric import multi_metric
from graphfew.methods.nearest_neighbor import nearest_neighbor
from graphfew.methods.paddle import paddle
from graphfew.methods.parameters_from_activations import parameters_from_activations
from graphfew.methods.poisson import poisson
from graphfew.methods.poisson_mbo import poisson_mbo
from graphfew.methods.poisson_reweighted import poisson_reweighted
from graphfew.methods.pool_prototypes import pool_prototypes
from graphfew.methods.propagated_prototypes import propagated_prototypes
from graphfew.methods.proto_maml import proto_maml
from graphfew.methods.prototypical import prototypical
from graphfew.methods.pt_map import pt_map
from graphfew.methods.relation import relation
from graphfew.methods.ridge import ridge
from graphfew.methods.score_combination import score_combination
from graphfew.methods.siamese import siamese
from graphfew.methods.simpleshot import simpleshot
from graphfew.methods.smooth_warp import smooth_warp
from graphfew.methods.snail import snail
from graphfew.methods.soft_k_means import soft_k_means, soft_k_means_cluster, soft_k_means_masked
from graphfew.methods.stata import stata
from graphfew.methods.tadam import tadam
from graphfew.methods.tim import tim
from graphfew.methods.tpn import tpn
from graphfew.methods.unicorn import unicorn
from graphfew.methods.wnll import wnll
from graphfew.methods.zero_head import zero_head
from graphfew.nn.base_classes import base_and_novel_logits

__all__ = [
    "alpha_tim",
    "anil",
    "attention_attractor",
    "attention_weight_generator",
    "base_and_novel_logits",
    "bd_cspn",
    "boil",
    "bpa",
    "cavia",
    "dpgn",
    "dpgn_loss",
    "edge_loss",
    "edge_node_loss",
    "egnn",
    "em_dirichlet",
    "epnet",
    "feat",
    "film_adaptation",
    "gnn",
    "hard_em_dirichlet",
    "hsml",
    "hybrid_attention",
    "hypernetwork",
    "image_distortion",
    "imaml",
    "imprinting",
    "induction",
    "label_propagation",
    "label_spreading",
    "labeled_node_loss",
    "laplacian_shot",
    "leo",
    "linear_head",
    "logistic",
    "maml",
    "maml_plus_plus",
    "mann",
    "matching",
    "matching_fce",
    "meta_lstm",
    "meta_networks",
    "meta_sgd",
    "metaoptnet_ridge",
    "metaoptnet_svm",
    "multi_metric",
    "multi_step_loss",
    "multi_step_weights",
    "nearest_neighbor",
    "node_loss",
    "paddle",
    "pair_loss",
    "parameters_from_activations",
    "penalized_node_loss",
    "poisson",
    "poisson_mbo",
    "poisson_reweighted",
    "pool_prototypes",
    "propagated_prototypes",
    "proto_maml",
    "prototypical",
    "pt_map",
    "relation",
    "relation_loss",
    "ridge",
    "score_combination",
    "siamese",
    "simpleshot",
    "smooth_warp",
    "snail",
    "soft_k_means",
    "soft_k_means_cluster",
    "soft_k_means_masked",
    "stata",
    "tadam",
    "tim",
    "tpn",
    "unicorn",
    "wnll",
    "zero_head",
]
