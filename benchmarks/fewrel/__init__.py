"""Methods from language work, trained from scratch on FewRel: `python -m benchmarks.fewrel.run`."""
