"""graphfew as it is installed, used where no checkout is: `python use.py CHECKOUT`."""

import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import graphfew as gf


def main(checkout: Path) -> None:
    place = Path(gf.__file__).resolve()
    assert checkout.resolve() not in place.parents, f"{place} is the checkout's"
    assert gf.__version__ == version("graphfew")
    extras = [
        name
        for name in ("torch_scatter", "pynndescent", "pyarrow", "lightning_fabric")
        if find_spec(name)
    ]
    assert not extras, f"{extras} are installed: this is to be graphfew alone"

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 8)), np.repeat([0, 1, 2], 20)
    X[:, :3] += 6 * np.eye(3)[y]
    labels = np.where(np.arange(60) % 20 < 2, y, -1)
    classifier = gf.FewShotClassifier("label_propagation").fit(X, labels)
    assert (classifier.predict(X) == y).mean() > 0.9
    assert np.allclose(classifier.predict_proba(X).sum(1), 1)

    for name in gf.pretrained.names():
        assert isinstance(gf.load(name), gf.GraphMethod), name
        assert gf.pretrained.model_card(name).startswith("#"), name
    ragged = gf.Tasks(gf.data.glyphs("test"), way=3, shot=(1, 2), query=2)
    result = gf.evaluate(
        gf.create("nearest_neighbor", encoder=gf.backbones.conv4(width=4)), ragged, 4
    )
    assert len(result.per_task) == 4


if __name__ == "__main__":
    main(Path(sys.argv[1]))
