#!/bin/bash
# timeout: 300
# assets: zlib
cd /case/zlib && ./configure > /tmp/configure.log 2>&1; echo "configure $?"
make -j4 > /tmp/make.log 2>&1; echo "make $?"
# Order of the parallel lines is free, what was built is not.
ls -1 *.o *.a *.so.* example minigzip 2>&1 | sort; sort /tmp/make.log | sha256sum
make test 2>&1 | sed 's/make\[[0-9]*\]/make/; s/tmp[a-z0-9_.]*_[0-9]*/TMP/'
sha256sum example minigzip libz.a | cut -c-64
seq 50000 | ./minigzip | ./minigzip -d | sha256sum; make clean > /dev/null; ls *.o 2>&1; make nosuch; echo $?
