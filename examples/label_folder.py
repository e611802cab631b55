"""A folder of images with few labels: `graphfew label` writes a table of labels and a plot.

Scikit-learn's digits are written as image files: three of each class into a folder of that class, all others into
`unlabeled`. The command then labels them from raw pixels (`--encoder pixels`); for photos, pass a trained
checkpoint, `--checkpoint runs/egnn`. With `--unknown-threshold`, items unlike every class stay unknown.

The script prints the output of the command, and the accuracy of the new labels: of all, and of the more confident half.

Run: python examples/label_folder.py [FOLDER], which keeps images, labels.csv and labels.png there.
"""

import csv
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import graphfew as gf


def write_images(folder: Path, shots: int, per_class: int) -> None:
    """Write digits as images; the file name contains the item's index and true class."""
    data = gf.data.digits()
    for label, items in enumerate(data.members):
        class_name = data.classes[label]
        for position, item in enumerate(items[:per_class].tolist()):
            image_folder = folder / (class_name if position < shots else "unlabeled")
            image_folder.mkdir(parents=True, exist_ok=True)
            pixels = (255 * data.gather(np.array([item]))[0, 0]).byte().numpy()
            Image.fromarray(pixels).save(image_folder / f"{item:04d}-{class_name}.png")


def label(folder: Path) -> list[dict[str, str]]:
    """Run the command on the folder and read its table."""
    out = folder / "labels.csv"
    command = [Path(sys.executable).with_name("graphfew"), "label", folder / "images"]
    command += ["--encoder", "pixels", "--out", out, "--picture", folder / "labels.png"]
    process = subprocess.run([*command, "--overwrite"], check=True, capture_output=True, text=True)
    print(process.stdout, end="")
    with out.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def main(folder: Path, shots: int = 3, per_class: int = 100) -> dict[str, float]:
    """Accuracy of all new labels, and of the more confident half."""
    write_images(folder / "images", shots, per_class)
    rows = [row for row in label(folder) if row["given"] == "false"]
    correct = np.array([Path(row["item"]).stem.endswith(f"-{row['label']}") for row in rows])
    confidence = np.array([float(row["confidence"]) for row in rows])
    confident_half = confidence.argsort()[len(rows) // 2 :]
    accuracies = {
        "all": float(correct.mean()),
        "more confident half": float(correct[confident_half].mean()),
    }
    for name, accuracy in accuracies.items():
        print(f"{name}: {100 * accuracy:.1f} % correct")
    return accuracies


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(Path(folder))
