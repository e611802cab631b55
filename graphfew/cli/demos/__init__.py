"""`graphfew demo`: a short demo in two parts, and the full one, which trains every model from scratch.

Start reading at `short_demo.run_demo`.
"""
