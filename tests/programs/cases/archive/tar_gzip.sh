#!/bin/bash
# timeout: 300
cd /usr/share && tar -c --sort=name . 2>/dev/null | gzip -1 > /tmp/share.tar.gzip; echo "${PIPESTATUS[*]}"
gzip -t /tmp/share.tar.gzip; echo $?
mkdir /tmp/back && tar -C /tmp/back -xf /tmp/share.tar.gzip; echo $?
diff -r --no-dereference /usr/share /tmp/back && echo "round trip same"
(cd /usr/share && find . -printf '%P %m %u %g %y %l %Ts\n' | sort) | sha256sum
(cd /tmp/back && find . -printf '%P %m %u %g %y %l %Ts\n' | sort) | sha256sum
tar -tf /tmp/share.tar.gzip | sort | sha256sum
echo damage | dd of=/tmp/share.tar.gzip bs=1 seek=1000 conv=notrunc status=none; gzip -t /tmp/share.tar.gzip 2>/dev/null; echo $?
