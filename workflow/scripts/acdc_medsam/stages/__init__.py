"""The stages that make the dataset, one module for each."""
