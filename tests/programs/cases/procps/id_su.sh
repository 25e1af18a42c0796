#!/bin/bash
id; id nobody; id nosuch; echo $?; whoami; groups; su nobody -s /bin/sh -c id; su nobody -s /bin/sh -c 'exit 3'; echo $?
su nobody -s /bin/sh -c 'cat /etc/shadow; touch /etc/x; echo $HOME; umask; grep -E "^(Uid|Gid|Groups|CapEff|CapPrm|NoNewPrivs)" /proc/self/status'
su - root -c 'pwd; echo $0'; setpriv --reuid=nobody --regid=nogroup --clear-groups --no-new-privs sh -c 'id; grep NoNewPrivs /proc/self/status; su -c id' 2>&1 | head -3
getent passwd root; getent hosts localhost; getent group nogroup; useradd -m tester; su tester -c 'cd; pwd; id -un; echo x > f; stat -c "%U %G" f'; chown -R nobody /home/tester; stat -c %U /home/tester/f; passwd -S tester | cut -d' ' -f1,2; userdel -r tester 2>&1; ls /home
hostname; uname -s -m -n; tty; echo $?; logname 2>&1; nice; umask; ulimit -s; arch; date -u -d @0 +%F; locale -a | head -3
