"""How the queries are divided among the classes decides what answering them together is worth.

Tasks are 5-way 1-shot with 75 queries, divided evenly, unevenly (Dirichlet(2)), or all of one class. Prototypes answer
each query alone. PT-MAP and `propagated_prototypes` answer them together: the first is told that they are divided
evenly (`balanced=True`, the usual assumption of published figures), the second is told nothing.

It prints each method's accuracy and its paired difference from prototypes on the same tasks. What is told "even" gains
much where that is true, and where all queries are of one class it still gives each class a fifth of them. What is told
nothing gains less where they are even, keeps a gain where they are uneven, and loses far less where they are of one.

Run: python examples/uneven_queries.py (scikit-learn's digits, as pixels; nothing is trained or downloaded)
"""

from torch import nn

import graphfew as gf

DIVISIONS = {
    "balanced": gf.data.balanced(15),
    "Dirichlet(2)": gf.data.dirichlet(75, 2.0),
    "single class": gf.data.single_class(75),
}


def models() -> dict[str, gf.GraphMethod]:
    """Heads on the same features."""
    encoder = gf.backbones.identity(28 * 28)
    return {
        "prototypes": gf.create("prototypical", encoder=encoder, metric=gf.nn.cosine, scale=10.0),
        "PT-MAP, told even": gf.create("pt_map", encoder=encoder, balanced=True),
        "propagated prototypes": gf.create("propagated_prototypes", encoder=encoder),
    }


def main(tasks: int = 300) -> dict[str, dict[str, gf.Comparison]]:
    """For each division of the queries each method against prototypes."""
    pixels = gf.data.encode(gf.data.digits(), nn.Flatten(), progress=False)
    found = {}
    for division, query in DIVISIONS.items():
        source = gf.Tasks(pixels, way=5, shot=1, query=query, seed=0)
        results = {name: gf.evaluate(model, source, n=tasks) for name, model in models().items()}
        found[division] = {
            name: gf.compare_results(result, results["prototypes"])
            for name, result in results.items()
        }
    return found


if __name__ == "__main__":
    for division, compared in main().items():
        print(f"queries: {division}")
        for name, comparison in compared.items():
            gap = "" if name == "prototypes" else str(comparison)
            print(f"  {name:22} {comparison.a.mean:6.1%}  {gap}")
