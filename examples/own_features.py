"""Label the queries of one task from features that you hold: build an episode by hand, ask four methods.

Run: python examples/own_features.py
"""

import torch

import graphfew as gf


def main(seed: int = 0) -> dict[str, float]:
    """Accuracy of each method on one task of scikit-learn's digits: 3 labeled items per class, 200 to label."""
    digits = gf.data.digits()
    order = torch.randperm(len(digits.y), generator=torch.Generator().manual_seed(seed))
    support = torch.cat([order[digits.y[order] == c][:3] for c in range(10)])
    query = order[~torch.isin(order, support)][:200]
    items = torch.cat([support, query])

    is_query = torch.arange(len(items)) >= len(support)
    label = digits.y[items].masked_fill(is_query, -1)
    features = digits.gather(items).flatten(1)
    episode = gf.Episode.single(features, label, is_query, way=10)

    encoder = gf.backbones.identity(features.shape[1])
    models = {
        "nearest neighbor": gf.create("nearest_neighbor", encoder=encoder),
        "prototypes": gf.create("prototypical", encoder=encoder),
        "prototypes, cosine": gf.create(
            "prototypical", encoder=encoder, metric=gf.nn.cosine, scale=10.0
        ),
        "propagated prototypes": gf.create("propagated_prototypes", encoder=encoder),
    }
    truth = digits.y[query]
    return {
        name: float((model.eval()(episode).logits.argmax(1) == truth).float().mean())
        for name, model in models.items()
    }


if __name__ == "__main__":
    for name, accuracy in main().items():
        print(f"{name:22} {100 * accuracy:.1f} %")
