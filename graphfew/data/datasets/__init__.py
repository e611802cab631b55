"""Loaders of the data sets in the catalog, one file each, with the names of their splits."""
