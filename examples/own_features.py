"""Label the queries of one task from your own features: build an episode and evaluate four methods on it.

Run: python examples/own_features.py
"""

import torch

import graphfew as gf


def main(seed: int = 0) -> dict[str, float]:
    """Accuracy of each method on one task of scikit-learn's digits: 3 labels per class, 200 queries."""
    digits = gf.data.digits()
    order = torch.randperm(len(digits.y), generator=torch.Generator().manual_seed(seed))
    support = torch.cat([order[digits.y[order] == c][:3] for c in range(10)])
    query = order[~torch.isin(order, support)][:200]
    items = torch.cat([support, query])

    is_query = torch.arange(len(items)) >= len(support)
    labels = digits.y[items].masked_fill(is_query, -1)
    features = digits.gather(items).flatten(1)
    episode = gf.Episode.single(features, labels, is_query, way=10)

    encoder = gf.backbones.identity(features.shape[1])
    models = {
        "nearest neighbor": gf.create("nearest_neighbor", encoder=encoder),
        "prototypes": gf.create("prototypical", encoder=encoder),
        "prototypes, cosine": gf.create(
            "prototypical", encoder=encoder, metric=gf.nn.cosine, scale=10.0
        ),
        "propagated prototypes": gf.create("propagated_prototypes", encoder=encoder),
    }
    target = digits.y[query]
    accuracies = {}
    for name, model in models.items():
        predictions = model.eval()(episode).logits.argmax(1)
        accuracies[name] = float((predictions == target).float().mean())
    return accuracies


if __name__ == "__main__":
    for name, accuracy in main().items():
        print(f"{name:22} {100 * accuracy:.1f} %")
