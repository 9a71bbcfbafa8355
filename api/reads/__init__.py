"""The questions behind the screens: each module holds the SQL of one noun and its shape."""
