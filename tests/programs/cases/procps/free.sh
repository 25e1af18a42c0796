#!/bin/bash
free > /tmp/f; echo $?; awk '{print NF, $1}' /tmp/f; awk '/^Mem/ { if ($2 > 0 && $4 > 0 && $4 <= $2 && $7 <= $2) print "plausible" }' /tmp/f
free -h | head -1; free -m -t | awk '{print $1}'; for k in MemTotal MemFree MemAvailable Buffers Cached SwapTotal SwapFree; do grep -c "^$k: .* kB" /proc/meminfo; done
grep -c '^processor' /proc/cpuinfo | grep -c '[1-9]'; grep -c 'flags.*sse2' /proc/cpuinfo | grep -c '[1-9]'; awk '{print NF}' /proc/loadavg /proc/uptime; awk '/^(cpu |btime|processes)/ {print $1, NF}' /proc/stat; head -c 13 /proc/version; echo
