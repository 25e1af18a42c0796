#!/bin/bash
top -b -n1 > /tmp/top; echo $?
sed -n '1s/ -.*//p; 2s/[0-9]\+/N/gp; 7p' /tmp/top | sed 's/ *$//'; awk 'NR > 7 { print $2, $NF }' /tmp/top | sort
sed -n '3,5p' /tmp/top | sed 's/[0-9.]\+/N/g; s/,/, /g; s/  */ /g; s/ $//'; top -b -n2 -d 0.2 | grep -c '^top'
uptime | grep -c 'load average'; w -h | wc -l; vmstat 1 1 | head -2 | tr -s ' -'; nproc | grep -c '^[0-9]*$'; getconf PAGESIZE
