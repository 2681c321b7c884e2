"""Synthetic patients in ACDC's raw layout, for the demo, the tests and the benchmarks."""
