"""A small training command that the tests of several packages share."""

SMALL_EGNN = [
    *("train", "egnn", "--data", "digits", "--split", "all", "--validate", "all"),
    *("--way", "3", "--query", "2", "--encoder-set", "width=4"),
    *("--set", "layers=1", "--set", "width=8", "--batch", "2"),
    *("--validate-tasks", "4", "--validate-way", "3"),
]
