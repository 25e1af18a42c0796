#!/bin/bash
# timeout: 300
cd /usr/share && tar -c --sort=name . 2>/dev/null | xz -1 > /tmp/share.tar.xz; echo "${PIPESTATUS[*]}"
xz -t /tmp/share.tar.xz; echo $?
mkdir /tmp/back && tar -C /tmp/back -xf /tmp/share.tar.xz; echo $?
diff -r --no-dereference /usr/share /tmp/back && echo "round trip same"
(cd /usr/share && find . -printf '%P %m %u %g %y %l %Ts\n' | sort) | sha256sum
(cd /tmp/back && find . -printf '%P %m %u %g %y %l %Ts\n' | sort) | sha256sum
tar -tf /tmp/share.tar.xz | sort | sha256sum
echo damage | dd of=/tmp/share.tar.xz bs=1 seek=1000 conv=notrunc status=none; xz -t /tmp/share.tar.xz 2>/dev/null; echo $?
