#!/bin/bash
exec python3 - <<'EOF'
import queue, signal, threading, time, os
n, lock = 0, threading.Lock()
def work():
    global n
    for _ in range(5000):
        with lock: n += 1
ts = [threading.Thread(target=work) for _ in range(16)]
[t.start() for t in ts]; [t.join() for t in ts]; print(n)
q, out = queue.Queue(10), queue.Queue()
def consume():
    while (x := q.get()) is not None: out.put(x * x)
cs = [threading.Thread(target=consume) for _ in range(4)]
[c.start() for c in cs]; [q.put(i) for i in range(1000)]; [q.put(None) for _ in cs]; [c.join() for c in cs]
print(sum(out.get() for _ in range(1000)))
e = threading.Event(); print(e.wait(0.1)); threading.Timer(0.1, e.set).start(); print(e.wait(5))
b = threading.Barrier(8); bs = [threading.Thread(target=b.wait) for _ in range(8)]; [t.start() for t in bs]; [t.join(5) for t in bs]; print(b.broken)
c = threading.Condition(); r = []
def waiter():
    with c: c.wait_for(lambda: r, 5); print("woken")
t = threading.Thread(target=waiter); t.start()
with c: r.append(1); c.notify_all()
t.join(); print(threading.active_count())
print(len({t.native_id for t in ts}), threading.get_native_id() == os.getpid())
signal.signal(signal.SIGALRM, lambda *_: print("alarm")); signal.setitimer(signal.ITIMER_REAL, 0.1); time.sleep(0.3)
s = threading.Semaphore(2); print(s.acquire(), s.acquire(), s.acquire(timeout=0.05))
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1}); os.kill(os.getpid(), signal.SIGUSR1)
print(signal.sigpending() == {signal.SIGUSR1}, signal.sigwait({signal.SIGUSR1}) == signal.SIGUSR1)
go = threading.Event(); many = [threading.Thread(target=go.wait) for _ in range(100)]
[t.start() for t in many]; print(threading.active_count()); go.set(); [t.join() for t in many]
EOF
