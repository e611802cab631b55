"""What of the documentation is made when it is built, so that no figure and no docstring is copied by hand."""
