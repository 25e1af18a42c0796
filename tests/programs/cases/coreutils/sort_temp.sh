#!/bin/bash
# timeout: 120
seq 1 200000 | awk '{print ($1 * 7919) % 200003, $1}' > /tmp/in
sort -S 1M -T /tmp -n /tmp/in > /tmp/out; echo $?; sha256sum < /tmp/out; head -3 /tmp/out
sort -S 1M -k2,2nr --parallel=4 /tmp/in | head -3
ls /tmp | sort
sort -u -o /tmp/in /tmp/in; wc -l < /tmp/in; sort -c /tmp/in; echo $?
