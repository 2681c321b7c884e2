"""The description of the dataset for people and for programs."""
