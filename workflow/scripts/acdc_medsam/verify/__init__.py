"""Verification of a published dataset: its checks, and the comparison of a copy."""
