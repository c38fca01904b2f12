"""`python -m marsmith` is the `marsmith` command."""

from marsmith.cli import main

if __name__ == "__main__":
    main()
