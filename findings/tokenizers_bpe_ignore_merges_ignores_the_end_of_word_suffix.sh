#!/usr/bin/env bash
# tokenizers 0.23.3: BPE(ignore_merges=True) looks a whole word up as it stands, without the end_of_word_suffix that the
# model was given. In a GPT-1-like vocabulary, which holds both "a" (inside words) and "a</w>" (a whole word), the word
# "a" then becomes the token for the inside of a word. Without ignore_merges the suffix is added first.
# One would expect both options together to look up the word with its suffix.
# Output seen:
#   ignore_merges=False: ['a</w>']
#   ignore_merges=True: ['a']
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tokenizers==0.23.3 2>/dev/null
cat > "$folder/show.py" <<'PY'
from tokenizers.models import BPE

vocabulary, merges = {"<unk>": 0, "a": 1, "b": 2, "a</w>": 3, "b</w>": 4, "ab</w>": 5}, [("a", "b</w>")]
for ignore in (False, True):
    model = BPE(vocabulary, merges, unk_token="<unk>", end_of_word_suffix="</w>", ignore_merges=ignore)
    print(f"ignore_merges={ignore}: {[token.value for token in model.tokenize('a')]}")
PY
"$folder/venv/bin/python" "$folder/show.py" | tee "$folder/seen"
diff "$folder/seen" <(printf '%s\n' "ignore_merges=False: ['a</w>']" "ignore_merges=True: ['a']")
