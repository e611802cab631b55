"""Images of all depths and formats: scaled to 8 bits, never clipped to white."""

import numpy as np
import pytest
from PIL import Image

import graphfew as gf
from graphfew.data.io.image_pixels import inspect_images, read_pixels, read_rgb, to_eight_bits
from graphfew.errors import BadItemsError, DatasetError


def ramp(top, dtype):
    return np.linspace(0, top, 64).reshape(8, 8).astype(dtype)


DEEP = {
    "16 bits": (ramp(65535, np.uint16), ".png"),
    "16 bits in TIFF": (ramp(65535, np.uint16), ".tif"),
    "12 bits": (ramp(4095, np.uint16), ".png"),
    "14 bits": (ramp(16383, np.uint16), ".tiff"),
    "32 bits": (ramp(2e9, np.int32), ".tif"),
    "signed": (ramp(2000, np.int32) - 1000, ".tif"),
    "unit floats": (ramp(1, np.float32), ".tif"),
    "floats": (ramp(1, np.float32) * 7 - 3, ".tif"),
}


@pytest.mark.parametrize(("values", "suffix"), DEEP.values(), ids=DEEP)
def test_deep_images_are_scaled(tmp_path, values, suffix):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(values).save(path)
    expected = np.rint(np.linspace(0, 255, 64)).reshape(8, 8)
    for channels in (1, 3):
        assert np.abs(read_pixels(path, channels, None).astype(int) - expected).max() <= 1
    assert inspect_images([path])[0].problem is None


def test_dark_and_constant_images_stay_so():
    dark = Image.fromarray(np.full((2, 2), 300, dtype=np.uint16))
    assert np.asarray(to_eight_bits(dark)).max() == round(255 * 300 / 1023)
    assert np.asarray(to_eight_bits(Image.fromarray(np.zeros((2, 2), np.uint16)))).max() == 0
    missing = Image.fromarray(np.array([[np.nan, 1.0], [0.5, 0.0]], dtype=np.float32))
    assert np.asarray(to_eight_bits(missing)).tolist() == [[0, 255], [128, 0]]


def test_animations_and_palettes(tmp_path):
    path = tmp_path / "a.gif"
    frames = [Image.new("RGB", (4, 4), color) for color in ((255, 0, 0), (0, 0, 255))]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert read_rgb(path).getpixel((0, 0)) == (255, 0, 0)
    assert inspect_images([path])[0].n_frames == 2


def test_problems_of_files_are_found(tmp_path):
    good = tmp_path / "good.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40), np.uint8)).save(good)
    (tmp_path / "cut.png").write_bytes(good.read_bytes()[:500])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("no image")
    paths = [tmp_path / f"{name}.png" for name in ("good", "cut", "empty", "text", "no")]
    problems = [header.problem for header in inspect_images(paths)]
    assert problems[0] is None
    assert problems[1].startswith("cannot be read as an image (")
    assert problems[2:] == ["is empty", "is not an image", "does not exist"]
    with pytest.raises(DatasetError, match=r"text\.png cannot be read as an image"):
        read_rgb(paths[3])


def test_class_folders_scale_deep_images_and_report_all_broken_ones(tmp_path):
    for name, top in (("a", 65535), ("b", 4095)):
        (tmp_path / name).mkdir()
        Image.fromarray(ramp(top, np.uint16)).save(tmp_path / name / "1.tif")
    data = gf.data.class_folders(tmp_path, size=8, channels=1, progress=False)
    assert (int(data.x.min()), int(data.x.max()), int(data.x.float().mean())) == (0, 255, 127)
    for name in "ab":
        (tmp_path / name / "2.png").write_text("no image")
    with pytest.raises(BadItemsError) as caught:
        gf.data.class_folders(tmp_path, size=8, channels=1, progress=False)
    assert [line.rpartition("/")[2] for line in caught.value.problems] == [
        "2.png is not an image"
    ] * 2
