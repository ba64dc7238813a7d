"""Client of Thalweg, a service that runs gradient descents as jobs."""

__version__ = "0.1.0"
