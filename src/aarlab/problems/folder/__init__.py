"""A problem in a folder: `problem.yaml`, `prepare.py`, `grade.py`, `baselines/`."""
