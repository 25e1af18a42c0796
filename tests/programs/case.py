"""A case: a shell script under cases/, with its options in leading comments.

    # timeout: 120          seconds for one run (default 60)
    # assets: zlib deb      what tests/programs/assets.sh must have made; found in /case
    # expect: TEXT          compare with these lines and exit code 0, not with the chroot: where Linux itself would do
                            otherwise (repeatable; one line each)

A script prints only what must be equal on both sides: it leaves out pids, times and inode numbers itself.
"""

import dataclasses
import os
import re

OPTION = re.compile(r"^# (timeout|assets|expect): ?(.*)$")


@dataclasses.dataclass
class Case:
    name: str  # "bash/wait_n"
    path: str
    timeout: int = 60
    assets: tuple = ()
    expect: str = None


def load(path, top):
    case = Case(name=os.path.relpath(path, top)[:-len(".sh")], path=path)
    for line in open(path):
        if not line.startswith("#"):
            break
        match = OPTION.match(line.rstrip("\n"))
        if not match:
            continue
        key, value = match.groups()
        if key == "timeout":
            case.timeout = int(value)
        elif key == "assets":
            case.assets = tuple(value.split())
        else:
            case.expect = (case.expect or "") + value + "\n"
    return case


def load_all(top):
    paths = [os.path.join(folder, f) for folder, _, files in os.walk(top) for f in files if f.endswith(".sh")]
    return [load(p, top) for p in sorted(paths)]
