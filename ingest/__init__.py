"""From the broker to the database: sources, envelopes, batches, the writer, quarantine, ledger."""
