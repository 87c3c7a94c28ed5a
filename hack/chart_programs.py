"""The programs that the tests of the chart run."""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
CHART = ROOT / "charts/logpipe"


def tool(name, question="--path"):
    """The path of a program of hack/tools, or its version."""
    return run([ROOT / "hack/tools", question, name]).strip()


def run(command, stdin=None, ok=True):
    """What a command says; ends the test when it fails, with ok=False when it does not, with ok=None never."""
    done = subprocess.run([str(part) for part in command], input=stdin, capture_output=True, text=True, check=False)
    if ok is not None and (done.returncode == 0) != ok:
        words = " ".join(str(part) for part in command)
        sys.exit(f"{words}\nended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout if ok else done.stdout + done.stderr


# The names in hack/tools.
HELM = {"3": "helm", "4": "helm4"}
