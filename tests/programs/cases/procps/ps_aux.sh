#!/bin/bash
sleep 60 & until [ "$(cut -d" " -f2,3 "/proc/$!/stat")" = "(sleep) S" ]; do :; done; ps aux > /tmp/ps; echo $?; head -1 /tmp/ps
awk 'NR > 1 { line = $1; for (i = 11; i <= NF; i++) line = line " " $i; print line }' /tmp/ps | sort
awk 'NR > 1 && ($2 !~ /^[0-9]+$/ || $3 < 0 || $5 < 0 || $6 < 0 || $8 !~ /^[RSDTZ]/ || $10 !~ /:/) { print "odd:", $0 }' /tmp/ps
ps -o pid,ppid,comm,args -p $! | awk 'NR > 1 { print $3, $4, $5 }'; [ "$(ps -o ppid= -p $! | tr -d ' ')" = $$ ] && echo "my child"
ps -e --no-headers > /tmp/e; wc -l < /tmp/e; ps -p 1 -o comm=,user=; ps -C sleep -o stat=,nlwp= | cut -c1; pgrep -x sleep | grep -c .; pidof sleep | wc -w; pkill sleep; wait $! 2>/dev/null; echo $?
ps -ef --forest > /tmp/e; awk 'NR > 1 { print $8 }' /tmp/e | sed 's/^.*\///' | sort -u; kill -l | head -1; cat /proc/self/comm; tr '\0' ' ' < /proc/self/cmdline; echo
