#!/usr/bin/env bash
# Which texts pyarrow takes for an integer.
#
# Expected: decimal numbers with or without a minus, as JSON writes them and as `int` takes them; anything else is an
#           error of the cast, and a CSV column with anything else is one of strings.
# Seen:     0x1F is 31, in a cast to any type of integer and in a CSV file whose types are inferred, where the codes
#           0x10 and 10 become the numbers 16 and 10. A negative hexadecimal number, a plus and a blank are refused, and
#           so is hexadecimal in a cast to a type of floats. A column of keys that is cast to integers must be looked at
#           before, if a text that is no number is to be noticed.
#
# Versions: pyarrow 26.0.1, Python 3.13. Runs for ten seconds, in a temporary folder. Fails if this is no longer so.
set -euo pipefail

python=${PYTHON:-python3.13}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check pyarrow==26.0.1

cat > "$folder/look.py" <<'PYTHON'
import io
import sys

import pyarrow as pa
import pyarrow.csv


def cast(text, kind):
    try:
        return pa.array([text]).cast(kind)[0].as_py()
    except pa.ArrowInvalid:
        return "refused"


integers = {str(kind): cast("0x1F", kind) for kind in (pa.int8(), pa.int32(), pa.int64(), pa.uint64())}
others = {text: cast(text, pa.int64()) for text in ("-0x1F", "+31", " 31", "31", "-31")}
floats = cast("0x1F", pa.float64())
column = pyarrow.csv.read_csv(io.BytesIO(b"code\n0x10\n10\n"))["code"]
print(f"pyarrow {pa.__version__}: 0x1F as integers {integers}, as a float {floats}; as int64 {others}")
print(f"CSV: {column.type} {column.to_pylist()}")
seen = (
    set(integers.values()) == {31}
    and floats == "refused"
    and others == {"-0x1F": "refused", "+31": "refused", " 31": "refused", "31": 31, "-31": -31}
    and column.to_pylist() == [16, 10]
)
sys.exit(0 if seen else 1)
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
