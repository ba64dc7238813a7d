"""`python -m thalweg`: the `thalweg` command."""

from thalweg.cli import main

if __name__ == "__main__":
    main()
