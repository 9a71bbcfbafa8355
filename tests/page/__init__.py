"""The command centre's page in a real browser, on a real hub."""
