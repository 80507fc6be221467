"""Benchmarks: `python -m tests.benchmarks throughput|latency|micro --queue URL`."""
