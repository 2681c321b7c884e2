"""Facts about the ACDC dataset: labels, file names, cohort and citation."""
