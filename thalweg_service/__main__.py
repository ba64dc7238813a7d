"""`python -m thalweg_service`: the `thalweg` command, which is the client's."""

from thalweg.cli import main

if __name__ == "__main__":
    main()
