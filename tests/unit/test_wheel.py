import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "alerts",
    "analytics",
    "api",
    "cityhub",
    "core",
    "devices",
    "ingest",
    "simulators",
}


def test_the_wheel_holds_our_eight_packages_and_nothing_else(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == PACKAGES
    assert "core/schema/0001_hub.sql" in names
    assert any(name.endswith(".dist-info/licenses/NOTICE") for name in names)
