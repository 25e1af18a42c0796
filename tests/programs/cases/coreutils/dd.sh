#!/bin/bash
cd /tmp; seq 100000 > in
dd if=in of=out bs=1k count=10 skip=3 status=none; sha256sum < out; stat -c %s out
dd if=in of=out bs=100 seek=5 count=1 conv=notrunc status=none; stat -c %s out; sha256sum < out
dd if=/dev/zero of=big bs=1M count=64 status=none; stat -c %s big
dd if=/dev/zero of=sparse bs=1 count=0 seek=1G status=none; stat -c '%s %b' sparse
dd if=in bs=64k 2>&1 >/dev/null | head -2
dd if=/dev/urandom bs=1k count=4 status=none | wc -c
dd if=in bs=3 count=2 conv=ucase,swab status=none | od -c
dd of=/dev/full if=in bs=1k count=1 2>&1 | head -1; dd if=nosuch 2>&1
dd if=in iflag=fullblock bs=1M of=copy conv=fsync status=none; cmp in copy && echo same
dd if=big of=/dev/null iflag=direct bs=4k count=2 2>&1 | head -1
