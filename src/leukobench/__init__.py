"""LeukoBench: an experiment-tracking benchmark harness for leukemia classification."""

__version__ = "0.1.0"
