#!/bin/bash
# timeout: 120
# Random changes of a tree that exists below the overlay, each answer and now and then the whole tree printed.
exec python3 - <<'PY'
import ctypes, os, random, stat
R = random.Random(5); os.chdir("/usr/share/doc"); os.umask(0o22)
libc = ctypes.CDLL(None, use_errno=True)
NAMES = ["bash", "tar", "gzip", "copyright", "x", "y"]
def pick(): return "/".join(R.choice(NAMES) for _ in range(R.randint(1, 3)))
def rename(a, b, flags):
    # Directories stay: Linux's overlay, on the other side, gives EXDEV for those of its lower layer.
    if stat.S_ISDIR(os.lstat(a).st_mode) or flags == 2 and stat.S_ISDIR(os.lstat(b).st_mode): return
    if libc.renameat2(-100, a.encode(), -100, b.encode(), flags): raise OSError(ctypes.get_errno(), "")
def write(path, flags, text):
    fd = os.open(path, flags, 0o644)
    try: os.write(fd, text)
    finally: os.close(fd)
def tree(path):
    lines = []
    for name in sorted(os.listdir(path)):
        full = path + "/" + name; s = os.lstat(full); is_dir = stat.S_ISDIR(s.st_mode)
        line = f"{full} {s.st_mode:o} {0 if is_dir else s.st_nlink}"
        if stat.S_ISREG(s.st_mode): line += f" {s.st_size} {hash_of(full)}"
        if stat.S_ISLNK(s.st_mode): line += " -> " + os.readlink(full)
        lines.append(line)
        if is_dir: lines += tree(full)
    return lines
def hash_of(path):
    import zlib
    with open(path, "rb") as f: return zlib.crc32(f.read())
def show():
    for name in NAMES[:3] + ["x", "y"]:
        if os.path.isdir(name) and not os.path.islink(name): print("\n".join(tree(name)))
held = []
for i in range(3000):
    a, b, op, x, n = pick(), pick(), R.randrange(14), R.random(), R.randrange(100); answer = "ok"
    try:
        if op == 0: os.mkdir(a)
        elif op == 1: os.rmdir(a)
        elif op == 2: os.unlink(a)
        elif op == 3: os.link(a, b)
        elif op == 4: os.symlink("../y", a)
        elif op in (5, 6, 7): rename(a, b, 0 if x < .6 else 1 if x < .8 else 2)
        elif op in (8, 9): write(a, os.O_WRONLY | (os.O_CREAT if x < .5 else 0) | (os.O_APPEND if n & 1 else os.O_TRUNC), b"t%d" % n)
        elif op == 10: os.chmod(a, 0o600 | n % 64)
        elif op == 11: os.truncate(a, n % 30)
        elif op == 12:
            if len(held) > 5: os.close(held.pop(0))
            held.append(os.open(a, os.O_RDWR if x < .5 else os.O_RDONLY))
        elif held:
            fd = held[n % len(held)]; s = os.fstat(fd); is_dir = stat.S_ISDIR(s.st_mode)
            answer = "%o %d %d" % (s.st_mode, 0 if is_dir else s.st_nlink, 0 if is_dir else s.st_size)
            if stat.S_ISREG(s.st_mode) and n & 1: answer += repr(os.pread(fd, 100, 0))
    except OSError as e: answer = "E%d" % e.errno
    print(i, op, a, b, answer)
    if i % 500 == 0: show()
show()
PY
