"""The processes that hack/chaos-parts starts, kills and pauses: workers by their environment variables, and Kafka
by hack/parts. Signals go to processes of this module only, and to the broker of hack/parts.
"""

import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PARTS = str(ROOT / "hack/parts")

# What a worker's exit code asks for: 1 is to be started again.
AGAIN = 1


class Failure(Exception):
    """The run cannot pass any more."""


def variables(prefix, /, **fields):
    """The settings of a worker as environment variables: text as it is, unless it could be taken for JSON."""
    return {f"{prefix}_{field}".upper(): text(value) for field, value in fields.items()}


def text(value):
    if not isinstance(value, str):
        return json.dumps(value)
    try:
        json.loads(value)
    except ValueError:
        return value
    return json.dumps(value)


class Parts:
    """Kafka and S3, brought up when they are not."""

    def __init__(self):
        self.were_up = subprocess.run([PARTS, "env"], capture_output=True).returncode == 0
        up = subprocess.run([PARTS, "up"], stdout=subprocess.PIPE, text=True)
        if up.returncode != 0:
            raise Failure("the parts are not up")
        words = (shlex.split(line) for line in up.stdout.splitlines())
        self.env = dict(word[1].split("=", 1) for word in words)

    def down(self):
        if not self.were_up:
            subprocess.run([PARTS, "down"], check=True)

    def broker_log(self):
        folder = pathlib.Path(self.env["LOGPIPE_TEST_SECRETS"]).parent / "log"
        for name in ("kafka.log.old", "kafka.log"):
            if (folder / name).exists():
                yield from (folder / name).open(errors="replace")

    def rebalances(self, group):
        """How often the group came to rest."""
        line = re.compile(rf"Stabilized group {re.escape(group)} generation")
        return sum(1 for text in self.broker_log() if line.search(text))


class Broker:
    """Kafka, with the methods of a worker."""

    name, role = "kafka", "kafka"

    def __init__(self):
        self.starting = None
        self.down = False
        self.disturbed = []  # from when to when it did not answer

    def is_running(self):
        return not self.down and self.starting is None

    def kill(self):
        self.down = True
        self.disturbed.append([time.monotonic(), None])
        self.call("kill")

    def start(self):
        self.starting = subprocess.Popen([PARTS, "kafka", "start"])

    def pause(self):
        self.down = True
        self.disturbed.append([time.monotonic(), None])
        self.call("pause")

    def resume(self):
        self.call("resume")
        self.back()

    def call(self, verb):
        if subprocess.run([PARTS, "kafka", verb]).returncode != 0:
            raise Failure(f"hack/parts kafka {verb} failed")

    def watch(self):
        if self.starting is None or self.starting.poll() is None:
            return
        if self.starting.returncode != 0:
            raise Failure("Kafka did not come back")
        self.starting = None
        self.back()

    def back(self):
        self.down = False
        self.disturbed[-1][1] = time.monotonic()

    def was_disturbed(self, since):
        return any(end is None or end >= since for _, end in self.disturbed)

    def end(self):
        if self.starting is not None:
            self.starting.wait()
        if self.down and self.starting is None:
            subprocess.run([PARTS, "kafka", "resume"], stderr=subprocess.DEVNULL)


class Worker:
    """One `logpipe worker` with its name, over all its starts."""

    def __init__(self, program, role, name, env, folder):
        self.command = [program, "worker", role]
        self.role, self.name, self.env = role, name, env
        self.log = folder / f"{name}.log"
        self.starts = 0
        self.process = None
        self.paused = False
        self.finished = False  # it ended with 0
        self.woke = float("-inf")

    def start(self):
        self.starts += 1
        env = {key: value for key, value in os.environ.items() if not key.startswith(("LOGPIPE_", "AWS_"))}
        env.update(self.env)
        if self.role == "etl":
            # As a pod's UID: who takes partitions over is somebody else at each start.
            env["LOGPIPE_ETL_OWNER"] = f"{self.name}-start-{self.starts}"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def is_running(self):
        return self.process is not None and self.process.poll() is None and not self.paused

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process = None

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)
        self.paused = True

    def resume(self):
        self.process.send_signal(signal.SIGCONT)
        self.paused = False
        self.woke = time.monotonic()

    def ended_by_itself(self):
        """The exit code of a process that nobody ended, once."""
        if self.process is None or self.process.poll() is None:
            return None
        code = self.process.returncode
        self.process = None
        self.finished = code == 0
        return code

    def last_words(self):
        lines = self.log.read_text(errors="replace").splitlines()
        return lines[-1] if lines else "(it said nothing)"

    def drain(self, seconds):
        """Asks it to end, and waits until it has."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} did not end within {seconds} s of SIGTERM: {self.log}") from None
        self.process = None
        if code != 0:
            raise Failure(f"{self.name} ended with exit code {code} after SIGTERM: {self.last_words()}; {self.log}")

    def end(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def committed(folder):
    """What the checkpoints in the folder say is committed: rows, quarantined lines, files, and the owners."""
    totals = {"rows": 0, "dead": 0, "files": 0}
    owners = set()
    for path in folder.glob("p[0-9]*.checkpoint"):
        checkpoint = json.loads(path.read_bytes().split(b"\n", 1)[1])
        owners.add(checkpoint["owner"])
        for name in totals:
            totals[name] += checkpoint["totals"][name]
    return totals["rows"], totals["dead"], totals["files"], owners
