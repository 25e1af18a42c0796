#!/bin/bash
# timeout: 120
cp -a /etc /tmp/etc && diff -r --no-dereference /etc /tmp/etc && echo "contents same"
(cd /etc && find . -printf '%P %m %u %g %y %l %Ts\n' | sort) > /tmp/1
(cd /tmp/etc && find . -printf '%P %m %u %g %y %l %Ts\n' | sort) > /tmp/2
cmp /tmp/1 /tmp/2 && echo "attributes same"
cd /tmp; echo x > one; ln one two; ln -s one three; mkfifo fifo; mknod null c 1 3 2>/dev/null; mkdir d && cp -a one two three fifo d/
stat -c '%n %F %h' d/*; [ d/one -ef d/two ] && echo "hard link kept"
cp -r /usr/lib/python3 /tmp/py; find /tmp/py | wc -l
cp one nosuchdir/ 2>&1; cp -n d/one one; echo $?
cp --reflink=auto --sparse=always <(echo pipe) one; cat one
truncate -s 10M sparse; cp --sparse=always sparse sparse2; cmp sparse sparse2 && echo sparse
