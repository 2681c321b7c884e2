"""Measure a fine-tuned decoder on patients that had no part in its training, fold by fold, beside published results."""
