"""Figures of slices, volumes and embeddings for the report."""
