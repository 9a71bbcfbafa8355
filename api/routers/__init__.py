"""The addresses under ``/api/v1``: each module says who may ask, what for, and shows an example."""
