"""The published dataset in the layouts that other training code reads, a module per layout."""
