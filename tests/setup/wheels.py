"""Building the wheel without a network."""

import subprocess
import sys
import zipfile
from pathlib import Path


def build_wheel(tree: Path, folder: Path) -> zipfile.ZipFile:
    """Build the wheel of a source tree into a folder, with the setuptools that is installed."""
    offline = ["--no-deps", "--no-build-isolation", "--no-index"]
    command = [sys.executable, "-m", "pip", "wheel", *offline, "-w", folder, tree]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return zipfile.ZipFile(next(folder.glob("*.whl")))
