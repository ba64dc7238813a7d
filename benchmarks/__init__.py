"""Figures of the service beside what a user would use instead, measured in one run.

`python -m benchmarks` runs them all; `python -m benchmarks steps rows` runs those two.
"""
