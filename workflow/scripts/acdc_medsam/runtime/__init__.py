"""What surrounds the work of a run and its jobs: start, repairs, lock, logs, progress, code hashes and stop signals."""
