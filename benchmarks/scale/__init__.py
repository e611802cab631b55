"""What graphs of thousands of nodes take in memory and time."""
