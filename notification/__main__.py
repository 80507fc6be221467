"""`python -m notification`, the same as the command `notification`."""

from .cli import main

if __name__ == "__main__":
    main()
