"""`python -m codec`."""

from codec.cli.main import main

if __name__ == "__main__":
    main(prog_name="codec")
