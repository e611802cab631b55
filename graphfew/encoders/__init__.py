"""Encoders of raw items by name: texts and images to features.

Start reading at `find_encoder.find_encoder` and `item_encoder.ItemEncoder`.
"""

from graphfew.encoders.embedding_cache import CachedEncoder, clear_cache, list_cached
from graphfew.encoders.find_encoder import as_encoder, default_encoder, find_encoder
from graphfew.encoders.hog import hog_encoder
from graphfew.encoders.image_modules import image_encoder
from graphfew.encoders.item_encoder import FittedEncoder, ItemEncoder
from graphfew.encoders.pixels import pixels_encoder
from graphfew.encoders.raw_items import item_kind
from graphfew.encoders.tfidf import tfidf_encoder

__all__ = [
    "CachedEncoder",
    "FittedEncoder",
    "ItemEncoder",
    "as_encoder",
    "clear_cache",
    "default_encoder",
    "find_encoder",
    "hog_encoder",
    "image_encoder",
    "item_kind",
    "list_cached",
    "pixels_encoder",
    "tfidf_encoder",
]
