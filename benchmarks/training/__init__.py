"""Training beside what people would use instead: the same work by each, in processes of their own, round by round. `python -m
benchmarks.training` measures; what it found lies in benchmarks/data and is told in docs/benchmarks-training.md."""
