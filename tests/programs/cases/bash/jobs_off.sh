#!/bin/bash
set +m
state() { until [ "$(cut -d" " -f3 "/proc/$1/stat")" = "$2" ]; do :; done; }  # waits until process $1 is in state $2
for i in 3 1 2; do (sleep "0.$i"; echo "job $i") & done
wait; echo "all done $?"
(exit 4) & wait $!; echo "status $?"
sleep 60 & p=$!; kill -STOP $p; state $p T; awk '{print "state", $3}' "/proc/$p/stat"
kill -CONT $p; state $p S; awk '{print "state", $3}' "/proc/$p/stat"
kill $p; wait $p 2>/dev/null; echo "killed $?"
kill -0 $p 2>/dev/null; echo "gone $?"
{ sleep 0.1; echo nested; } & { wait; echo "no children of mine here"; } | cat; wait
jobs; echo "no jobs"
