#!/bin/bash
mount > /tmp/m; echo $?; awk '{print $3, ($3 == "/" ? "root" : $5)}' /tmp/m | sort
grep -c ' / ' /proc/mounts; awk '{print $5}' /proc/self/mountinfo | sort; findmnt -n -o TARGET,FSTYPE /proc; mountpoint /proc; mountpoint /etc; echo $?
mkdir /tmp/mnt; mount -t tmpfs -o size=1M t /tmp/mnt; echo $?; mountpoint /tmp/mnt; head -c 2000000 /dev/zero > /tmp/mnt/f; stat -c %s /tmp/mnt/f; df --output=size,target /tmp/mnt | tail -1
mount --bind /etc /tmp/mnt; ls /tmp/mnt/passwd; umount /tmp/mnt; ls /tmp/mnt; umount /tmp/mnt; umount /tmp/mnt; echo $?; mount -t bogus none /tmp/mnt; echo $?
mount -o remount,ro /dev/shm; touch /dev/shm/x; echo $?
