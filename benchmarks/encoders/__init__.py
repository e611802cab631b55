"""Encoders of texts and images, measured on raw items with a few labels per class."""
