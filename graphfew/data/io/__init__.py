"""File formats: archives, tables, pickles (read without executing them), image folders, and the array cache."""
