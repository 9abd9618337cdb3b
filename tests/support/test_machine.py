"""What a run notes of its machine."""

import pytest

from lib.support import machine


def test_the_library_can_do_without_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert machine.code_version.__wrapped__() == {"commit": None, "uncommitted_changes": None}
