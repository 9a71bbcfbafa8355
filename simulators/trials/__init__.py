"""Made sensor streams with labels, to judge detectors by: drawn from a seed, never seen before.

Lives here: a module a kind of stream. Whatever is drawn here may be reported; what a detector was
tuned on may not, so tuning takes other seeds than tests and reports.
"""
