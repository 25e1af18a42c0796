#!/bin/bash
exec python3 - <<'EOF'
import os, shutil, stat, tempfile, fcntl, mmap, errno
with tempfile.TemporaryFile() as f: f.write(b"x" * 100000); f.seek(99999); print(f.read(), os.fstat(f.fileno()).st_nlink)
with tempfile.NamedTemporaryFile("w+", delete=True) as f: print(oct(os.stat(f.name).st_mode)); name = f.name
print(os.path.exists(name))
with tempfile.TemporaryDirectory() as d:
    for i in range(500): open(f"{d}/{i}", "w").write(str(i))
    print(len(os.listdir(d)), sum(int(open(e.path).read()) for e in os.scandir(d)))
    os.makedirs(f"{d}/a/b/c"); shutil.copytree(f"{d}/a", f"{d}/z"); print(sorted(os.listdir(f"{d}/z")))
    os.rename(f"{d}/1", f"{d}/a/one"); os.replace(f"{d}/2", f"{d}/3"); print(open(f"{d}/3").read())
    with open(f"{d}/m", "w+b") as f:
        f.truncate(8192); m = mmap.mmap(f.fileno(), 0); m[5000:5005] = b"hello"; m.flush(); f.seek(5000); print(f.read(5)); m.close()
    a, b = open(f"{d}/l", "w"), open(f"{d}/l", "w"); fcntl.flock(a, fcntl.LOCK_EX)
    try: fcntl.flock(b, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as e: print(errno.errorcode[e.errno])
    os.setxattr(f"{d}/l", "user.k", b"v") if False else None
    try: os.rmdir(d)
    except OSError as e: print(errno.errorcode[e.errno])
print(os.path.exists(d))
fd = os.memfd_create("m", os.MFD_ALLOW_SEALING); os.write(fd, b"abc"); fcntl.fcntl(fd, 1033, 2 | 8)
try: os.ftruncate(fd, 1)
except OSError as e: print(errno.errorcode[e.errno])
print(stat.filemode(os.stat("/tmp").st_mode), os.access("/tmp", os.W_OK), os.statvfs("/tmp").f_namemax)
EOF
