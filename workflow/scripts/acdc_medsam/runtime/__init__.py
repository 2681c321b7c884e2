"""What surrounds the work of a job or run: logs, locks, progress, code hashes and stop signals."""
