"""What the hub costs, measured beside others in one run on this machine.

Lives here: a module a bench, and what they share. A figure alone says nothing on a shared machine,
so contestants take turns in rounds, and what counts is the ratio of their medians. Raw samples and
versions stay in the report. Run from a clone: the rival written in C and the broker's configuration
are not part of the package.
"""
