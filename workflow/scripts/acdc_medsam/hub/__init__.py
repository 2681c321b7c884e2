"""Uploads of a verified dataset to the Hugging Face hub."""
