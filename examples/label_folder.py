"""A folder of images of which few have a label: `graphfew label` writes a table of labels and draws a picture.

Scikit-learn's digits are written as images: three of each class into a folder of that class, all others into
`unlabeled`. The command then labels the pile by its raw pixels (`--encoder identity`); for photographs give it a
trained checkpoint, `--checkpoint runs/egnn`. With `--unknown-threshold`, items unlike their class are left unknown.

It prints what the command says, and how many of the labels that it found are right, of all and of the surest half.

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


def write_images(folder: Path, shots: int, each: int) -> None:
    """Digits as images, named by their number and true class."""
    data = gf.data.digits()
    for label, items in enumerate(data.members):
        for place, item in enumerate(items[:each].tolist()):
            home = folder / (data.classes[label] if place < shots else "unlabeled")
            home.mkdir(parents=True, exist_ok=True)
            pixels = (255 * data.gather(np.array([item]))[0, 0]).byte().numpy()
            Image.fromarray(pixels).save(home / f"{item:04d}-{data.classes[label]}.png")


def label(folder: Path) -> list[dict[str, str]]:
    """Run the command on the folder's images and read its table."""
    command = Path(sys.executable).with_name("graphfew")
    out = folder / "labels.csv"
    said = subprocess.run(
        [
            command,
            "label",
            folder / "images",
            "--encoder",
            "identity",
            "--out",
            out,
            "--picture",
            folder / "labels.png",
            "--overwrite",
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    print(said.stdout, end="")
    with out.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def main(folder: Path, shots: int = 3, each: int = 100) -> dict[str, float]:
    """Share of right labels among all that were found, and among the surest half."""
    write_images(folder / "images", shots, each)
    found = [row for row in label(folder) if row["given"] == "false"]
    right = np.array(
        [row["item"].removesuffix(".png").endswith(f"-{row['label']}") for row in found]
    )
    sure = np.array([float(row["confidence"]) for row in found]).argsort()[len(found) // 2 :]
    figures = {"all": float(right.mean()), "surest half": float(right[sure].mean())}
    print(*(f"{name}: {100 * share:.1f} % right" for name, share in figures.items()), sep="\n")
    return figures


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as place:
            main(Path(place))
