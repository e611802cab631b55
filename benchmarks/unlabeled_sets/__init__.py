"""Partially labeled sets of many kinds of data: accuracy, calibration and outlier detection of classifiers.

Start with `run.py`; `benchmarks/specs/unlabeled-pools.toml` lists data sets, settings and methods.
"""
