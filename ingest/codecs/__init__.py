"""Inner bytes to named fields."""
