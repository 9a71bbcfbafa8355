"""What the hub counts, for Prometheus. Roles import the figures they move.

A figure here is of one process; :mod:`core.presence` brings those of all roles together for the
page's ``/metrics``. What the tables tell is not counted again: ``api/figures.py`` reads it there.
Names start with ``cityhub_``; ``docs/reference/metrics.md`` lists them all.
"""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

RECORDS: Final = Counter(
    "cityhub_ingest_records_total", "Records by what became of them", ["source", "outcome"]
)
READINGS: Final = Counter(
    "cityhub_ingest_readings_total", "Readings by kind of device", ["source", "kind"]
)
QUARANTINED: Final = Counter(
    "cityhub_quarantined_total", "Records put in quarantine, by reason", ["source", "code"]
)
COMMIT_SECONDS: Final = Histogram(
    "cityhub_ingest_commit_seconds",
    "Time from a batch judged to its transaction committed, waits for the database included",
    ["source"],
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
)
BATCH_ROWS: Final = Histogram(
    "cityhub_ingest_batch_messages",
    "Messages in one ingest transaction",
    ["source"],
    buckets=(1, 10, 50, 100, 500, 1_000, 2_000, 5_000, 10_000),
)
UNACKED_SECONDS: Final = Gauge(
    "cityhub_ingest_oldest_unacked_seconds",
    "Age of the oldest message taken and not committed",
    ["source"],
)
WINDOW: Final = Gauge(
    "cityhub_ingest_window_messages", "Messages taken off the wire and not committed", ["source"]
)
WINDOW_LIMIT: Final = Gauge(
    "cityhub_ingest_window_limit_messages", "The most such messages there may be", ["source"]
)
FENCED: Final = Counter(
    "cityhub_ingest_fenced_total", "Commits refused since another worker took over", ["source"]
)
LAG: Final = Gauge(
    "cityhub_log_lag_messages", "Messages of the log not committed: its end less our place",
    ["source"],
)  # fmt: skip
LOG_WHOLE: Final = Gauge(
    "cityhub_log_whole",
    "Whether the log gets every acknowledged message: stream and durable source are there",
    ["source"],
)
LOG_BYTES: Final = Gauge("cityhub_log_bytes", "What the log takes on the broker's disk", ["source"])
LOG_LIMIT_BYTES: Final = Gauge(
    "cityhub_log_limit_bytes", "The most the log may take; 0: no limit of its own", ["source"]
)
LOG_FULL: Final = 0.8
"""The share of its limit from which a log counts as full: what is committed is trimmed by then."""

FINDINGS: Final = Counter("cityhub_findings_total", "Findings by rule", ["rule"])
ALARM_EVENTS: Final = Counter("cityhub_alarm_events_total", "Alarm transitions", ["action"])
OUTBOX: Final = Counter("cityhub_outbox_total", "Deliveries by what became of them", ["outcome"])
FEED_CLIENTS: Final = Gauge("cityhub_feed_clients", "Browsers and programs on the feed")
DISK_FREE: Final = Gauge(
    "cityhub_disk_free_bytes", "Free on the volume of the data folder, by who runs there"
)
DISK_SIZE: Final = Gauge("cityhub_disk_size_bytes", "Size of that volume")
