"""What is wrong with a reading: pure stages over columns, and the sweep for silence."""
