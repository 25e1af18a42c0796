#!/bin/bash
stat -c '%n %F %s %a %A %U %G %h %u %g' / /etc /etc/passwd /bin /tmp /dev/null /dev/tty /usr/bin/su
stat -c '%N' /bin /dev/fd; stat -L -c '%F' /bin
cd /tmp; echo hi > f; touch -d '2001-02-03 04:05:06.789 UTC' f; stat -c '%y %Y' f; touch -h -d @7 f; stat -c %Y f
chmod 4751 f; stat -c %A f; chown 12:34 f; stat -c '%u %g %a' f
stat /nosuch; echo $?
[ "$(stat -c %i f)" = "$(ls -i f | cut -d' ' -f1)" ] && echo "inode agrees"
stat -c %t,%T /dev/null /dev/zero; test -c /dev/null && test -w /dev/null && echo "null writable"
chmod 000 f; [ -r f ] && echo "root reads"; touch -r /etc/passwd f; [ f -ot /etc/nosuch ]; echo $?
