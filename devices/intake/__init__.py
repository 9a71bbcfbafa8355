"""City data from files: reading rows of CSV and GeoJSON, and what each kind of file may say.

Lives here: encodings, rows with their line numbers, fields, the sheets. May enter: what turns
bytes of a file into checked rows, without a database; :mod:`devices.importer` does the rest.
"""
