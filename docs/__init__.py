"""The documentation: pages, and what makes those of them that are made from the registry and the records."""
