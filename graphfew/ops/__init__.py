"""Tensor kernels under `Topology` and the pair MLPs: batched, ragged and segment operations.

Nothing here knows episodes or methods. Start reading at `batched` and `ragged`.
"""
