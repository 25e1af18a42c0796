#!/bin/bash
# timeout: 120
du -s --apparent-size /usr/share/perl /usr/lib/python3
du -sb /usr/lib/python3 /etc
du -a --apparent-size -b /etc/apt | sort
mkdir /tmp/d; head -c 100000 /dev/zero > /tmp/d/f; ln /tmp/d/f /tmp/d/g; du -b --apparent-size /tmp/d/f /tmp/d/g | wc -l
du -b /nosuch; echo $?
