"""Active learning: accuracy by number of labels, for strategies that choose the items to label.

Start with `run`; `plan` lists data sets and strategies.
"""
