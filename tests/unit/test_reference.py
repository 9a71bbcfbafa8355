from pathlib import Path

from devices import KINDS
from devices.reference import describe_imports, describe_kinds

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def test_the_reference_of_kinds_is_up_to_date() -> None:
    page = (REFERENCE / "kinds.md").read_text("utf-8")
    assert page == describe_kinds(), "run scripts/docs"


def test_the_reference_of_import_files_is_up_to_date() -> None:
    page = (REFERENCE / "imports.md").read_text("utf-8")
    assert page == describe_imports(), "run scripts/docs"


def test_the_reference_names_every_metric_event_command_and_rule() -> None:
    page = describe_kinds()
    for kind in KINDS.values():
        names = [metric.name for metric in kind.metrics]
        names += [event.name for event in kind.events]
        names += [command.name for command in kind.commands]
        assert all(f"| `{name}` |" in page for name in names)
        for rule in kind.rules:
            assert f"| `{rule.rule_id}` |" in page
