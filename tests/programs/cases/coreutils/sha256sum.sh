#!/bin/bash
# timeout: 120
find /usr/bin /usr/lib/python3* -type f | sort | xargs sha256sum > /tmp/sums; echo $?
wc -l < /tmp/sums; sha256sum < /tmp/sums
sha256sum --quiet -c /tmp/sums; echo $?
sed -i '1s/^./z/' /tmp/sums; sha256sum -c /tmp/sums >/dev/null 2>&1; echo $?
head -c 10000000 /dev/zero | sha256sum; md5sum /etc/debian_version | cut -c-32; cksum /etc/hostname
