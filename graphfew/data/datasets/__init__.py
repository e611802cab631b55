"""Loaders of the data sets that the catalog knows by name, one file each, with the names of their splits."""
