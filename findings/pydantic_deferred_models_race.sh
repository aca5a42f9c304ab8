#!/usr/bin/env bash
# What threads get that are the first to use one model of pydantic whose building was put off.
#
# Expected: `defer_build=True` builds a model when it is first used, and whichever of some threads comes first: all of
#           them get the same valid objects.
# Seen:     of eight threads that validate the same valid dictionary at once, now and then one gets an AttributeError,
#           since the type has no `__pydantic_core_schema__`. Afterwards every thread gets an object. With the same model
#           built at its definition there is no error.
#
# Versions: pydantic 2.13.5, Python 3.13.
# Runs for some seconds, in a temporary folder. Fails if any of this is no longer so.
set -euo pipefail

python=${PYTHON:-python3.13}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check pydantic==2.13.5

cat > "$folder/look.py" <<'PYTHON'
import sys
import threading
from collections import Counter

from pydantic import BaseModel, ConfigDict, create_model

sys.setswitchinterval(1e-5)
THREADS, TURNS = 8, 300


def failures(defers):
    found = Counter()
    for turn in range(TURNS):
        base = type("Base", (BaseModel,), {"model_config": ConfigDict(defer_build=defers)})
        inner = create_model(f"Inner{turn}", __base__=base, number=(int, 1), text=(str, ""))
        outer = create_model(f"Outer{turn}", __base__=base, first=(inner, ...), others=(list[inner], ...))
        together = threading.Barrier(THREADS)

        def use():
            together.wait()
            try:
                outer.model_validate({"first": {"number": 2}, "others": [{"text": "a"}]})
            except Exception as err:
                found[f"{type(err).__name__}: {err}".partition("\n")[0].replace(str(turn), "")] += 1

        threads = [threading.Thread(target=use) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        outer.model_validate({"first": {"number": 2}, "others": [{"text": "a"}]})
    return dict(found)


deferred, built = failures(True), failures(False)
print(f"{THREADS} threads, {TURNS} models: put off {deferred}, built at their definition {built}")
sys.exit(0 if deferred and not built else 1)
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
