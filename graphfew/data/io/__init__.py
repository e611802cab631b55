"""File formats: archives, tables, pickles (never executed), image folders, the array cache."""
