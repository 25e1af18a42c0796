#!/bin/bash
# timeout: 120
cat > /tmp/m.py <<'EOF'
import multiprocessing as mp, os, sys
from multiprocessing import shared_memory
def square(x): return x * x
def add(value, n):
    for _ in range(n):
        with value.get_lock(): value.value += 1
def echo(c): c.send(c.recv()[::-1]); c.close()
def fill(name): s = shared_memory.SharedMemory(name); s.buf[:4] = b"data"; s.close()
if __name__ == "__main__":
    for method in ("fork", "spawn", "forkserver"):
        ctx = mp.get_context(method)
        with ctx.Pool(4) as pool: print(method, sum(pool.map(square, range(1000))))
        v = ctx.Value("i", 0); ps = [ctx.Process(target=add, args=(v, 500)) for _ in range(4)]
        [p.start() for p in ps]; [p.join() for p in ps]; print(v.value, [p.exitcode for p in ps])
        a, b = ctx.Pipe(); p = ctx.Process(target=echo, args=(b,)); p.start(); a.send([1, "two", b"3"]); print(a.recv()); p.join()
        q = ctx.Queue(); p = ctx.Process(target=q.put, args=({"k": [1, 2]},)); p.start(); print(q.get(timeout=20)); p.join()
        p = ctx.Process(target=sys.exit, args=(9,)); p.start(); p.join(); print(p.exitcode)
        s = shared_memory.SharedMemory(create=True, size=4096); p = ctx.Process(target=fill, args=(s.name,)); p.start(); p.join(); print(bytes(s.buf[:4])); s.close(); s.unlink()
    print(mp.cpu_count() == len(os.sched_getaffinity(0)))
EOF
exec python3 /tmp/m.py
