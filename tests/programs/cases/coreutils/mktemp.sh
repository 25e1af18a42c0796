#!/bin/bash
f=$(mktemp); d=$(mktemp -d); stat -c '%F %a' "$f" "$d"
case $f in /tmp/tmp.??????????) echo name;; esac
mktemp -p /nosuch 2>&1 | sed 's/tmp\.[A-Za-z0-9]*/NAME/'; mktemp --suffix=.c -u /tmp/abc.XXXXX | sed 's/\.[A-Za-z0-9]*\.c/.NAME.c/'
TMPDIR=$d mktemp | grep -c "^$d/"
for i in $(seq 200); do mktemp; done | sort -u | wc -l
