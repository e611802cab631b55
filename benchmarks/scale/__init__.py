"""Memory and time of graphs with thousands of nodes."""
