"""One label per intent, many unlabeled utterances, and out-of-scope utterances to reject.

Test items are predicted one by one, by nearest class means of the labeled items and by `pool_prototypes`, which also
uses 20 unlabeled items per intent. The script prints means over random draws with paired differences: accuracy with
all intents known, and with half of them known, so that half of the unlabeled items are out-of-distribution; the AUROC
of `similarity` against out-of-scope items; and the effect of an `unknown_threshold` that 95 % of the unlabeled exceed.

The data are features of CLINC150, FOLDER/clinc150/minilm_embeddings.npz; without this file, pixels of scikit-learn's
digits, of which 0 to 7 are the intents. Run: python examples/intents.py [FOLDER], or set GRAPHFEW_DATA to the folder.
"""

import os
import sys
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score
from torch import nn

import graphfew as gf


def load_data(root: str | None) -> dict[str, np.ndarray]:
    """CLINC150's features if the file exists, otherwise digits."""
    file = Path(root or os.environ.get("GRAPHFEW_DATA", "")) / "clinc150" / "minilm_embeddings.npz"
    if file.is_file():
        content = np.load(file, allow_pickle=False)
        x, out_of_scope = content["x"].astype(np.float32), content["oos"].astype(np.float32)
        y = np.unique(content["y"], return_inverse=True)[1]
        train, test = content["split"] == "train", content["split"] == "test"
    else:
        print(f"{file} does not exist: using digits instead")
        pixels = gf.data.encode(gf.data.digits(), nn.Flatten(), progress=False)
        x, y = pixels.x.numpy(), pixels.y.numpy()
        x, y, out_of_scope = x[y < 8], y[y < 8], x[y >= 8]
        test = np.arange(len(y)) % 2 == 1
        train = ~test
    split = {"x": x[train], "y": y[train], "test_x": x[test], "test_y": y[test]}
    return {**split, "out_of_scope": out_of_scope}


def sample(data: dict[str, np.ndarray], n_known: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """One labeled item of each of `n_known` intents, and 20 unlabeled items (label -1) of every intent."""
    rng = np.random.default_rng(seed)
    classes = rng.permutation(np.unique(data["y"]))
    items = [rng.permutation(np.flatnonzero(data["y"] == c)) for c in classes]
    labeled = np.array([rows[0] for rows in items[:n_known]])
    unlabeled = np.concatenate([rows[1:21] for rows in items])
    labels = np.append(data["y"][labeled], np.full(len(unlabeled), -1))
    return data["x"][np.concatenate([labeled, unlabeled])], labels


def measure(data: dict[str, np.ndarray], n_known: int, seed: int) -> dict[str, float]:
    """Accuracy and AUROC of both methods, and the effect of the threshold."""
    x, y = sample(data, n_known, seed)
    pool = gf.FewShotClassifier("pool_prototypes", batch_size=5000).fit(x, y)
    nearest = gf.FewShotClassifier("prototypical").fit(x[y >= 0], y[y >= 0])
    known = np.isin(data["test_y"], pool.classes_)
    test_x, test_y = data["test_x"][known], data["test_y"][known]
    both = np.concatenate([test_x, data["out_of_scope"]])
    in_scope = np.arange(len(both)) < len(test_x)
    scores = {}
    for name, classifier in (("pool", pool), ("nearest", nearest)):
        scores[name] = float((classifier.predict(test_x) == test_y).mean())
        similarity = classifier.similarity(both).max(1)
        scores[f"{name} AUROC"] = float(roc_auc_score(in_scope, similarity))
    threshold = float(np.quantile(pool.similarity(x[y < 0]).max(1), 0.05))
    predictions = pool.set_params(unknown_threshold=threshold, unknown_label=-1).predict(both)
    scores["correct"] = float((predictions[in_scope] == test_y).mean())
    rejected = predictions == -1
    return scores | {
        "rejected": rejected[in_scope].mean(),
        "OOS rejected": rejected[~in_scope].mean(),
    }


def main(root: str | None = None, draws: int = 5) -> dict[str, dict[str, np.ndarray]]:
    """Scores of every draw, with all intents known and with half of them."""
    data = load_data(root)
    n_intents = len(np.unique(data["y"]))
    results = {}
    for title, n_known in (("all known", n_intents), ("half known", n_intents // 2)):
        runs = [measure(data, n_known, seed) for seed in range(draws)]
        results[title] = {key: np.array([run[key] for run in runs]) for key in runs[0]}
    return results


if __name__ == "__main__":
    results = main(*sys.argv[1:2])
    every = results["all known"]
    auroc = {name: every[f"{name} AUROC"] for name in ("pool", "nearest")}
    print(f"{'':12}  nearest class mean  pool prototypes  difference")
    for title, scores in {**results, "out of scope": auroc}.items():
        pool, nearest = scores["pool"], scores["nearest"]
        gap, half = (100 * value for value in gf.evaluation.t_interval(pool - nearest))
        print(f"{title:12}  {nearest.mean():18.1%}  {pool.mean():15.1%}  {gap:+.1f} ± {half:.1f}")
    for key in ("correct", "rejected", "OOS rejected"):
        print(f"with a threshold: {key} {every[key].mean():.1%}")
