#!/bin/bash
trap 'echo "caught USR1"' USR1
trap 'echo "caught TERM"' TERM
kill -USR1 $$; kill -TERM $$; echo "after signals"
trap '' HUP; kill -HUP $$; echo "HUP ignored"
(trap 'echo "subshell exit $?"' EXIT; exit 3); echo "status $?"
bash -c 'kill -KILL $$'; echo "killed $?"
bash -c 'kill -SEGV $$' 2>/dev/null; echo "segv $?"
bash -c 'trap "exit 9" INT; kill -INT $$; sleep 5'; echo "int trap $?"
bash -c 'kill -INT $$; sleep 5'; echo "int $?"
f() { trap 'echo "return from f"' RETURN; echo "in f"; }; f
trap 'echo "error on line $LINENO"' ERR; false; trap - ERR
sleep 30 & child=$!; kill "$child"; wait "$child" 2>/dev/null; echo "child $?"
# A trap interrupts wait, and wait can be called again.
(sleep 0.3; kill -USR1 $$) & sleep 0.8 & last=$!
wait "$last"; echo "wait interrupted $?"; wait "$last"; echo "wait again $?"
ulimit -c 0; trap 'echo "exit trap $?"' EXIT
exit 5
