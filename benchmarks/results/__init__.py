"""The comparisons of docs/results.md: run on a real service, kept as JSON in `data/`, told by code. `make results` does it all."""
