#!/usr/bin/env bash
# papermill 2.7.0: when the kernel dies in a cell, the notebook that papermill saves calls the cells after it completed.
# They never began: they have no execution count, no start, no output. The error is raised, as it should be; but whoever
# looks at the file later, as a dashboard does, sees metadata.papermill.status = "completed" in every cell but the one.
# One would expect what papermill writes after an exception in a cell: the cells after it stay "pending".
# Output seen:
#   raised: DeadKernelError
#   status: completed completed completed; execution counts: 1 None None
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check papermill==2.7.0 ipykernel==7.4.0 2>/dev/null
cat > "$folder/run.py" <<'PY'
import nbformat
import papermill

source = ["first = 1", "import os; os._exit(1)  # as if the system had ended the kernel, for want of memory", "print(first)"]
notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in source])
notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
nbformat.write(notebook, "in.ipynb")
try:
    papermill.execute_notebook("in.ipynb", "out.ipynb", progress_bar=False)
except Exception as error:
    print("raised:", type(error).__name__)
cells = nbformat.read("out.ipynb", as_version=4).cells
states = [cell.metadata.papermill.status for cell in cells]
print("status:", *states, end="; execution counts: ")
print(*[cell.execution_count for cell in cells])
PY
cd "$folder"
"$folder/venv/bin/python" run.py 2> log | tee seen
diff seen <(printf 'raised: DeadKernelError\nstatus: completed completed completed; execution counts: 1 None None\n')
