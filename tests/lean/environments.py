"""Other Pythons on this machine, and how commands run in them without knowing of this one's packages."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONSTRAINTS = ROOT / "constraints.txt"
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "PYTHONHOME"}}


def find_python(*versions: str) -> str | None:
    """The first of the Pythons that this machine has; a pyenv shim that leads nowhere does not count."""
    for version in versions:
        name = f"python{version}"
        candidates = [shutil.which(name), sys.executable, *Path.home().glob(f".pyenv/versions/{version}*/bin/{name}")]
        probe = f"import ensurepip, sys; sys.exit('%d.%d' % sys.version_info[:2] != '{version}')"
        for python in filter(None, candidates):
            if subprocess.run([python, "-c", probe], capture_output=True, check=False).returncode == 0:
                return str(python)
    return None
