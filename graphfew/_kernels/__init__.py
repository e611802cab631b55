"""The numeric kernels under `Topology`: equal-sized tasks by reshaping, ragged ones by segments."""
