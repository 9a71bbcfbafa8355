"""Ways out to other systems."""
