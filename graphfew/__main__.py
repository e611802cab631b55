"""`python -m graphfew`: the command line, for programs that start modules."""

from graphfew.cli import app

if __name__ == "__main__":
    app()
