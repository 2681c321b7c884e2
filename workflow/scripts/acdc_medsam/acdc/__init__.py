"""What is known of the ACDC dataset: labels, names, cohort and citation."""
