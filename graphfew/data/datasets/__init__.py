"""One module per data set; `graphfew.data` exports the loading functions."""
