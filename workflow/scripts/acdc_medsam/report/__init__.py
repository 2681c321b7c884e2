"""Stage report: the dataset on one page. ``page`` writes the page; each section has a module of its own."""
