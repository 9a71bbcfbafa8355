"""What all parts share: words of the domain, settings, errors, clock, batches, database.

Lives here: the model, the columnar batch and its stages' protocol, settings, logging, metrics, the
injected clock, the pool, LISTEN, binary COPY, the tables of the kinds, migrations and failpoints.
May enter: what at least two of the packages above need. Imports nothing of this project.
"""
