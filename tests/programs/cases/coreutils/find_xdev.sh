#!/bin/bash
# timeout: 180
cd /; find / -xdev \( -path /tmp -o -path /case \) -prune -o -print 2>&1 | sort > /tmp/found
wc -l < /tmp/found; sha256sum < /tmp/found
find / -xdev -type d -not -path '/tmp*' | wc -l
find /usr -xdev -type l | sort | head -20
find /etc -xdev -type f -size +4k -printf '%p %s %m %u %g %y\n' | sort
find /usr/bin -perm -4000 -printf '%p %m\n' | sort
find /usr/share/doc -name 'copyright' -newer /etc/nosuch; echo $?
find /etc -maxdepth 1 -name 'p*' -exec basename {} \; | sort
