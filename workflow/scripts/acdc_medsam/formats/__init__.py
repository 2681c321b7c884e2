"""The files that the workflow reads and writes, each reader beside its writer."""
