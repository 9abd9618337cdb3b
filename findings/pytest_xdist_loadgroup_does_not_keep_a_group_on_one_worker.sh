#!/usr/bin/env bash
# pytest-xdist 3.8.0 with pytest 9.2.0: under --dist loadgroup the tests of one xdist_group run on several workers.
# The mark is there and is read, but the group no longer decides where a test runs, and nothing says so. Tests that
# share a file or a port, and were given a group for that reason, run at the same time.
# One would expect what the documentation says: all tests of a group run on the same worker.
# Output seen:
#   workers that ran the group: 2
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pytest==9.2.0 pytest-xdist==3.8.0 2>/dev/null
cat > "$folder/test_group.py" <<'PY'
import time

import pytest


@pytest.mark.parametrize("n", range(8))
@pytest.mark.xdist_group("one")
def test_in_a_group(n, worker_id, request):
    time.sleep(0.2)
    with open(request.config.rootpath / "workers", "a") as file:
        file.write(worker_id + "\n")
PY
cd "$folder"
"$folder/venv/bin/python" -m pytest -q -p no:cacheprovider --rootdir "$folder" -n 2 --dist loadgroup test_group.py > log 2>&1
echo "workers that ran the group: $(sort -u workers | wc -l)" | tee seen
diff seen <(echo "workers that ran the group: 2")
