#!/usr/bin/env bash
# tokenizers 0.23.3: a BPE model without unk_token drops a character that is not in its vocabulary, without an error or
# a warning, and then merges the neighbours of the gap as if they had stood side by side: "a?b" becomes the one token of
# "ab". With unk_token set, the unknown character is a token of its own and nothing is merged across it.
# One would expect an error, or at least that no merge crosses what was dropped.
# Output seen:
#   without unk_token: ['ab']
#   with unk_token: ['a', '<unk>', 'b']
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tokenizers==0.23.3 2>/dev/null
cat > "$folder/show.py" <<'PY'
from tokenizers.models import BPE

vocabulary, merges = {"<unk>": 0, "a": 1, "b": 2, "ab": 3}, [("a", "b")]
for name, options in (("without unk_token", {}), ("with unk_token", {"unk_token": "<unk>"})):
    print(f"{name}: {[token.value for token in BPE(vocabulary, merges, **options).tokenize('a?b')]}")
PY
"$folder/venv/bin/python" "$folder/show.py" | tee "$folder/seen"
diff "$folder/seen" <(printf '%s\n' "without unk_token: ['ab']" "with unk_token: ['a', '<unk>', 'b']")
