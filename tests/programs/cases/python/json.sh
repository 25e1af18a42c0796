#!/bin/bash
exec python3 - <<'EOF'
import json, sys, platform, os, locale, datetime, random, hashlib, decimal, re, time
data = {"a": [1, 2.5, None, True], "ü": {"nested": ["x"] * 3}}
with open("/tmp/x.json", "w") as f: json.dump(data, f, indent=1, sort_keys=True, ensure_ascii=False)
print(open("/tmp/x.json").read()); print(json.load(open("/tmp/x.json")) == data)
try: json.loads('{"a": }')
except json.JSONDecodeError as e: print(e)
big = [{"i": i, "s": str(i) * 5} for i in range(20000)]; s = json.dumps(big); print(len(s), hashlib.sha256(s.encode()).hexdigest()); print(json.loads(s) == big)
print(platform.system(), platform.machine(), platform.node(), sys.version_info[:2], sys.getfilesystemencoding(), os.getcwd())
random.seed(5); print(random.random(), decimal.Decimal(1) / 7, datetime.datetime.fromtimestamp(0, datetime.timezone.utc))
t = time.monotonic(); time.sleep(0.1); print(0.1 <= time.monotonic() - t < 1, time.time() > 1.6e9, time.process_time() < 60, len(os.urandom(16)))
print(sys.argv, os.cpu_count() > 0, os.getpriority(os.PRIO_PROCESS, 0), os.times().user >= 0, os.uname().sysname)
EOF
