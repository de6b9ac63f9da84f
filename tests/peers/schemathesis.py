"""The interface is as its own description says: schemathesis makes calls from /v1/openapi.json and judges the answers.

`schemathesis_hooks.py` lets it reach every operation and demands an answer of 2xx from each.
"""

import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
# A script's own folder comes first where Python looks for modules: there lies this file, of the same name.
sys.path = [place for place in sys.path if os.path.abspath(place or ".") != HERE] + [HERE]

from peer import Relais, check, verdict

PROGRAM = os.path.join(os.path.dirname(sys.executable), "schemathesis")

# Left out: what these checks take for a fault is a rule that no schema can tell (a label is `name=value`, a lease's token is
# its own credential, an envelope is answered 200 with problems of its items).
LEFT_OUT = "positive_data_acceptance,negative_data_rejection,ignored_auth"

with Relais('[queue."*"]\n') as relais:
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": os.path.join(HERE, "schemathesis_hooks.py")}
    environment.pop("PYTHONPATH", None)
    arguments = ["--max-examples", "20", "--seed", "1", "--phases", "examples,coverage,fuzzing", "--no-color", "--exclude-checks", LEFT_OUT]
    run = subprocess.run(
        [PROGRAM, "run", f"{relais.url}/v1/openapi.json", *arguments],
        cwd=relais.folder, env=environment, capture_output=True, text=True,
    )
    said = run.stdout + run.stderr
    tried = re.search(r"(\d+) generated, (\d+) passed", said)
    good = check(run.returncode == 0, f"schemathesis ends with {run.returncode}")
    good &= check(tried and int(tried[1]) > 300, f"it made many calls: {tried and tried[0]}")
    good &= check("every operation had an answer of 2xx" in said, "every operation had an answer of 2xx")
    if not good:
        print(said[-8000:])
verdict()
