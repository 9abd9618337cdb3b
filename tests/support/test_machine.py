"""What a run notes of its machine."""

import os
import subprocess
import sys

from conftest import ROOT


def test_the_library_can_do_without_git() -> None:
    told = "import lib.train, lib.support.machine as machine; print(machine.code_version())"
    env = os.environ | {"PATH": ""}
    call = subprocess.run([sys.executable, "-c", told], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert call.stdout == "{'commit': None, 'uncommitted_changes': None}\n", call.stderr
