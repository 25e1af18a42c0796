#!/bin/bash
df > /tmp/df; echo $?; head -1 /tmp/df; awk '$6 == "/" || $6 == "/dev" || $6 == "/dev/shm" { print $6, ($2 >= $3), NF }' /tmp/df | sort
df -h /dev/shm | awk 'NR == 2 { print $2, $6 }'; df -i / | awk 'NR == 1 { print $1, $2 }'; df --output=target /etc/passwd | tail -1; df -t proc -a | awk 'NR == 2 { print $1, $6 }'; df /nosuch; echo $?
stat -f -c '%T' /proc /dev/shm /dev/pts /sys; head -c 70000000 /dev/zero > /dev/shm/full; echo $?; ls -s --block-size=1M /dev/shm/full; rm /dev/shm/full
