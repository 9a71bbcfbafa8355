"""The driver: batches through stages in order, as the ingest worker does it, and nothing else."""

from collections.abc import Iterable, Iterator, Sequence

from core.batch import Batch, Finding, Stage


def replay(stages: Sequence[Stage], batches: Iterable[Batch]) -> Iterator[Finding]:
    """Yield what the stages find in the batches.

    The findings of one batch come in the order of event time, as they would be raised; those of
    one time in the order of the stages.

    Args:
        stages: The stages of one kind; their state goes on from batch to batch.
        batches: Batches of that kind.
    """
    for batch in batches:
        found = [finding for stage in stages for finding in stage.apply(batch)]
        yield from sorted(found, key=lambda finding: finding.ts)
