"""What the hub counts, for Prometheus. Roles import the figures they move; ``/metrics`` shows them.

Each role is a process. ``cityhub up`` gives all its roles one folder to count in, so that the
page's ``/metrics`` shows them together; without it a process shows its own. Names start with
``cityhub_``.
"""

import os
from typing import Final

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The library's own variable: where the roles of one machine count together."""

RECORDS: Final = Counter(
    "cityhub_ingest_records_total", "Records by what became of them", ["source", "outcome"]
)
QUARANTINED: Final = Counter(
    "cityhub_quarantined_total", "Records in quarantine by reason", ["source", "code"]
)
COMMIT_SECONDS: Final = Histogram(
    "cityhub_ingest_commit_seconds",
    "Time of one ingest transaction",
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
    "Age of the oldest message not committed",
    ["source"],
    multiprocess_mode="livemax",
)
FENCED: Final = Counter(
    "cityhub_ingest_fenced_total", "Commits refused since another worker took over", ["source"]
)
FINDINGS: Final = Counter("cityhub_findings_total", "Findings by rule", ["rule"])
ALARM_EVENTS: Final = Counter("cityhub_alarm_events_total", "Alarm transitions", ["action"])
OUTBOX: Final = Counter("cityhub_outbox_total", "Deliveries by what became of them", ["outcome"])
FEED_CLIENTS: Final = Gauge(
    "cityhub_feed_clients", "Browsers and programs on the feed", multiprocess_mode="livesum"
)


def render() -> bytes:
    """Return all figures that this process can see, in Prometheus's text format."""
    if FOLDER not in os.environ:
        return generate_latest(REGISTRY)
    together = CollectorRegistry()
    MultiProcessCollector(together)  # type: ignore[no-untyped-call] # the library has no types here
    return generate_latest(together)
