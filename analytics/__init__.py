"""What is wrong with a reading: pure stages over columns, and the sweep for silence.

Lives here: ``stages``, which the ingest worker steps between decoding and storing, and the slow
roles that tail tables (``silence``). Both return findings; none opens an alarm. May enter: what
sees values, times and last contacts. Knows no broker, alarm or page.
"""
