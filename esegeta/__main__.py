"""The command line as `python -m esegeta`."""

from esegeta.cli import main

if __name__ == "__main__":
    main()
