"""Images of items as files that every browser shows."""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path

from PIL import Image

from graphfew.errors import DatasetError
from graphfew.labeling.annotation.items import AnnotationItems
from graphfew.labeling.item_images import item_image

LARGE, SMALL = 1024, 224
# Images of fewer pixels are enlarged, with visible pixels.
MIN_SIDE = 224


class ItemImages:
    """Renders images of items, and keeps the last ones in memory.

    Args:
        items: the items.
    """

    def __init__(self, items: AnnotationItems) -> None:
        self._items = items
        self.render = lru_cache(maxsize=256)(self._render)

    def _render(self, item: int, max_side: int) -> bytes:
        """Return the image of an item as a file in the format PNG or JPEG.

        Raises:
            DatasetError: the image is outside the source, or cannot be read.
        """
        content = self._items.contents[item]
        if isinstance(content, str | Path):
            content = Path(content)
            _check_inside(content, self._items.root)
        image = item_image(content, max_side)
        factor = MIN_SIDE // max(image.size)
        if factor > 1:
            size = (image.width * factor, image.height * factor)
            image = image.resize(size, Image.Resampling.NEAREST)
        buffer = io.BytesIO()
        # Photos are ten times as large in PNG, and small images look bad in JPEG.
        image.save(buffer, "JPEG" if factor < 1 else "PNG")
        return buffer.getvalue()


def media_type(content: bytes) -> str:
    """Return the media type of what `ItemImages.render` returns."""
    return "image/png" if content.startswith(b"\x89PNG") else "image/jpeg"


def _check_inside(path: Path, root: Path | None) -> None:
    # Resolved, so that `..` and links cannot lead outside.
    if root is None or not path.resolve().is_relative_to(root.resolve()):
        raise DatasetError(f"{path} is outside the source {root} and is not shown")
