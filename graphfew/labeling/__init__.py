"""Labels for partially labeled files and folders, as `graphfew label` writes them."""
