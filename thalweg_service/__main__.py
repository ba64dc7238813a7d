"""`python -m thalweg_service`: the `thalweg` command."""

from thalweg_service.commands import main

if __name__ == "__main__":
    main()
