#!/bin/bash
exec python3 - <<'EOF'
import sqlite3, threading
c = sqlite3.connect("/tmp/t.db"); print(c.execute("pragma journal_mode=wal").fetchone())
c.execute("create table t(id integer primary key, v text, n real)")
with c: c.executemany("insert into t(v, n) values(?, ?)", ((f"row {i}", i / 7) for i in range(10000)))
print(c.execute("select count(*), sum(n), max(v) from t").fetchone())
c.execute("create index i on t(v)"); print(c.execute("select id from t where v = 'row 777'").fetchone())
try:
    with c: c.execute("delete from t"); raise ValueError
except ValueError: print(c.execute("select count(*) from t").fetchone())
def write(k):
    d = sqlite3.connect("/tmp/t.db", timeout=30)
    for i in range(20):
        with d: d.execute("insert into t(v) values(?)", (f"{k}-{i}",))
    d.close()
ts = [threading.Thread(target=write, args=(k,)) for k in range(4)]; [t.start() for t in ts]; [t.join() for t in ts]
print(c.execute("select count(*) from t").fetchone(), c.execute("pragma integrity_check").fetchone())
c.execute("vacuum"); c.close(); print(open("/tmp/t.db", "rb").read(15))
EOF
