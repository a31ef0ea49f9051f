"""Benchmarks: Hanatalk beside its peers in one run on one machine. Read bench/README.md before any figure."""
