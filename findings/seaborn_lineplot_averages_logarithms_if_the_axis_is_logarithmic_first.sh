#!/usr/bin/env bash
# seaborn 0.13.2: the line that lineplot draws through repeated measurements depends on the axis at the time of the call.
# On a linear axis it is the arithmetic mean; on an axis that is logarithmic already it is the geometric mean. The same
# two calls in the other order (plot, then set_yscale) give the first line on the second axis.
# One would expect the estimator "mean" to be a property of the data, not of the scale.
# Output seen:
#   plotted, then made logarithmic: 50.5
#   made logarithmic, then plotted: 10.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check seaborn==0.13.2 matplotlib==3.11.2 pandas==3.1.1 numpy==2.4.6 2>/dev/null
cat > "$folder/show.py" <<'PY'
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import seaborn as sns

steps, losses = [1, 1, 2, 2], [1.0, 100.0, 1.0, 100.0]  # two seeds, two steps


def line(logarithmic_first):
    axes = plt.figure().add_subplot()
    if logarithmic_first:
        axes.set_yscale("log")
    sns.lineplot(x=steps, y=losses, errorbar=None, ax=axes)
    axes.set_yscale("log")
    return axes.lines[0].get_ydata()[0]


print(f"plotted, then made logarithmic: {line(False):.1f}")
print(f"made logarithmic, then plotted: {line(True):.1f}")
PY
MPLCONFIGDIR="$folder" "$folder/venv/bin/python" "$folder/show.py" | tee "$folder/seen"
diff "$folder/seen" <(printf '%s\n' "plotted, then made logarithmic: 50.5" "made logarithmic, then plotted: 10.0")
