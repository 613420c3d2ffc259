"""`python -m cristae`, where the command is not on the path."""

from cristae.cli.command import run

if __name__ == "__main__":
    run()
