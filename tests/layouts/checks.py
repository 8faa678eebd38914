"""A counter of passed and failed checks that says what it saw."""
import os
import subprocess
import sys


class Checks:
    def __init__(self):
        self.passed = self.failed = 0

    def check(self, name, ok, seen=""):
        if ok:
            self.passed += 1
        else:
            self.failed += 1
        text = ": " + str(seen).strip().replace("\n", " | ") if seen != "" else ""
        print(("ok      " if ok else "FAILED  ") + name + text, flush=True)
        return ok

    def finish(self):
        print("%d passed, %d failed" % (self.passed, self.failed))
        sys.exit(1 if self.failed or not self.passed else 0)


def run(*command, timeout=300, **options):
    """Exit code, stdout, stderr."""
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=timeout, text=True, **options)
    return done.returncode, done.stdout, done.stderr


def write(path, data):
    os.makedirs(os.path.dirname(str(path)), exist_ok=True)
    with open(path, "wb") as stream:
        stream.write(data)


def read(path):
    with open(path, "rb") as stream:
        return stream.read()
