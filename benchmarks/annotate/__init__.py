"""Speed of `graphfew annotate`, and the labels that a simulated annotator needs."""
