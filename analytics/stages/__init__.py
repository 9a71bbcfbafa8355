"""Pure detectors over batches: no I/O, no clock, no chance."""
