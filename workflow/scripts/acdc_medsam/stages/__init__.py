"""Stages that make the dataset, one module each."""
