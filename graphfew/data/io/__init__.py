"""Readers of archives, tables, pickles (without executing them) and image folders, and the decoded-image cache."""
