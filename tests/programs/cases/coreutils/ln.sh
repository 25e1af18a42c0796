#!/bin/bash
mkdir /tmp/l && cd /tmp/l; echo data > a
ln a b; stat -c %h a; ln -s a s; readlink s; cat s; ln -s loop loop; cat loop; echo $?
ln a b; echo $?; ln -sfn /etc e; ls e/passwd; ln -sr /tmp/l/a /tmp/rel; readlink /tmp/rel
rm a; cat b; cat s; echo $?; readlink -f s; realpath -m x/../y
mkdir d; ln d hard; echo $?; mv b d/; ls d; mv d d2; rmdir d2; rm -r d2; ls
ln /proc/self/status x; echo $?
ln -s "$(head -c 4000 /dev/zero | tr '\0' x)" long; readlink long | wc -c
ln -s "$(head -c 5000 /dev/zero | tr '\0' x)" longer 2>&1 | sed 's/x*//g'
