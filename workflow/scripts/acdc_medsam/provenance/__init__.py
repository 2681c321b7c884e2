"""The provenance of the published files: what each of them was made from."""
