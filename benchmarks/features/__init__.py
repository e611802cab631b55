"""Methods that need no training, on features of real data: `python -m benchmarks.features.run`."""
