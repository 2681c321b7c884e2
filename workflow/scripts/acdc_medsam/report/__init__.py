"""Stage report: the dataset in one page. ``page`` writes it; each section of it has a module of its own."""
