"""The class balance of the queries determines what predicting them together is worth.

Tasks are 5-way 1-shot with 75 queries: class-balanced, imbalanced (Dirichlet(2)), or all of one class. Prototypes
predict each query alone. PT-MAP and `propagated_prototypes` predict them together: the first with a balanced class
prior (`balanced=True`, the usual assumption behind published numbers), the second without an assumption.

The script prints each method's accuracy and its paired difference from prototypes on the same tasks. The balanced
prior gains much if it holds, and if all queries have one class it still assigns a fifth of them to each class.
Without the prior the gain is smaller, remains for imbalanced queries, and the loss for a single class is far smaller.

Run: python examples/uneven_queries.py (pixels of scikit-learn's digits; no training, no download)
"""

from torch import nn

import graphfew as gf

SAMPLERS = {
    "balanced": gf.data.balanced(15),
    "Dirichlet(2)": gf.data.dirichlet(75, 2.0),
    "single class": gf.data.single_class(75),
}


def models() -> dict[str, gf.GraphMethod]:
    """Three methods on the same features."""
    encoder = gf.backbones.identity(28 * 28)
    return {
        "prototypes": gf.create("prototypical", encoder=encoder, metric=gf.nn.cosine, scale=10.0),
        "PT-MAP, balanced prior": gf.create("pt_map", encoder=encoder, balanced=True),
        "propagated prototypes": gf.create("propagated_prototypes", encoder=encoder),
    }


def main(tasks: int = 300) -> dict[str, dict[str, gf.Comparison]]:
    """Compare each method with prototypes, for each query sampler."""
    pixels = gf.data.encode(gf.data.digits(), nn.Flatten(), progress=False)
    comparisons = {}
    for balance, query in SAMPLERS.items():
        source = gf.Tasks(pixels, way=5, shot=1, query=query, seed=0)
        results = {name: gf.evaluate(model, source, n=tasks) for name, model in models().items()}
        baseline = results["prototypes"]
        comparisons[balance] = {
            name: gf.compare_results(result, baseline) for name, result in results.items()
        }
    return comparisons


if __name__ == "__main__":
    for balance, comparisons in main().items():
        print(f"queries: {balance}")
        for name, comparison in comparisons.items():
            difference = "" if name == "prototypes" else str(comparison)
            print(f"  {name:22} {comparison.a.mean:6.1%}  {difference}")
