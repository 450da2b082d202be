"""`python -m potstill`, which is also what torchrun starts."""

from potstill.cli import main

if __name__ == "__main__":
    main()
