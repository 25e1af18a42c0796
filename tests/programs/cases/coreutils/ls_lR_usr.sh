#!/bin/bash
# timeout: 180
ls -lR --time-style=+%s /usr > /tmp/list; echo $?
wc -l < /tmp/list; sha256sum < /tmp/list; head -40 /tmp/list
ls -lA --time-style=+%s /etc /root | head -60
ls -d --color=never /bin /lib /dev/null /nosuch; echo $?
