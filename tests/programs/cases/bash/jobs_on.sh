#!/bin/bash
set -m
state() { until [ "$(cut -d" " -f3 "/proc/$1/stat")" = "$2" ]; do :; done; }  # waits until process $1 is in state $2
sleep 0.2 & sleep 60 &
jobs | sed 's/  */ /g'
kill -STOP %2; state $! T; jobs %2 | sed 's/  */ /g'
bg %2 >/dev/null 2>&1; state $! S; jobs %2 | sed 's/  */ /g'
# With job control every job is a process group of its own.
[ "$(ps -o pgid= -p "$!" | tr -d ' ')" = "$!" ] && echo "own group"
[ "$(ps -o sid= -p $$ | tr -d ' ')" = "$(ps -o sid= -p $! | tr -d ' ')" ] && echo "same session"
kill %2; wait %2; echo "second $?"
wait %1; echo "first $?"
(sleep 0.1; exit 3) & fg %% >/dev/null; echo "fg $?"
sleep 60 | cat & kill -- "-$(jobs -p %%)"; wait; echo "group killed"
