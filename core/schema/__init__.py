"""Migrations: ``NNNN_what.sql``, forward only, never edited once released."""
