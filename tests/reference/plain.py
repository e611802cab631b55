"""Networks applied by hand to one vector at a time, from the weights alone."""

import numpy as np
from torch import nn


def array(tensor):
    return tensor.detach().double().numpy()


def apply_net(net, vector):
    """A stack of linear maps, batch norms with their activation, and dropout (which evaluation leaves out)."""
    for module in net.children():
        if isinstance(module, nn.Linear):
            vector = linear(module, vector)
        elif isinstance(module, nn.Dropout):
            continue
        else:
            vector = normalized(module.norm, vector)
            vector = np.where(vector > 0, vector, module.slope * vector)
    return vector


def linear(module, vector):
    out = np.zeros(module.out_features)
    weight = array(module.weight)
    for o in range(module.out_features):
        for i in range(module.in_features):
            out[o] += weight[o, i] * vector[i]
    return out if module.bias is None else out + array(module.bias)


def normalized(norm, vector):
    spread = np.sqrt(array(norm.running_var) + norm.eps)
    return (vector - array(norm.running_mean)) / spread * array(norm.weight) + array(norm.bias)


def sigmoid(value):
    return 1 / (1 + np.exp(-value))
