#!/bin/bash
cd /tmp; printf '#!/bin/sh\necho "sh: $0 $*"\n' > a; printf '#!/usr/bin/env python3\nimport sys; print("py:", sys.argv)\n' > b; printf '#! /bin/echo one two three\n' > c; printf '#!/tmp/a\n' > d; printf 'echo "no shebang $0"\n' > e; printf '#!/nosuch/interp\n' > f; printf '#!\n' > g
chmod +x a b c d e f g; for s in a b c d e; do ./$s x 'y z'; echo $?; done; ./f 2>&1 | sed 's/.*: //'; python3 -c '
import os, errno
for f, a in (("./g", ["g"]), ("./e", ["e"]), ("/tmp", ["t"]), ("/etc/passwd", ["p"]), ("./nosuch", ["n"]), ("/bin/true", ["true", "x" * 140000]), ("/bin/true", ["true"] + ["y" * 100] * 200000)):
    try: os.execv(f, a)
    except OSError as e: print(f, errno.errorcode[e.errno])'
ln -s a link; ./link; PATH=/tmp:$PATH; a via-path; printf '#!/tmp/r1\n' > r0; for i in 1 2 3 4 5 6; do printf "#!/tmp/r$((i + 1))\n" > r$i; done; chmod +x r?; python3 -c '
import os, errno
try: os.execv("/tmp/r0", ["r0"])
except OSError as e: print(errno.errorcode[e.errno])'
python3 -c 'import os; fd = os.open("/bin/echo", os.O_RDONLY | os.O_CLOEXEC); os.execve(fd, ["echo", "fexecve"], {})'; exec -a renamed sh -c 'echo $0'
