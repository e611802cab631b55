"""Where the project's figures are produced."""
