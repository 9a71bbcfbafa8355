"""A city that does not exist, for maintainers, tests and drills."""
