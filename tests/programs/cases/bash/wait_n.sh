#!/bin/bash
(sleep 0.6; exit 3) & (sleep 0.2; exit 1) & (sleep 0.4; exit 2) &
for i in 1 2 3; do wait -n; echo "first to end: $?"; done
wait -n; echo "none left: $?"
sleep 0.5 & slow=$!; (sleep 0.1; exit 7) & quick=$!
wait -n -p which $slow $quick; echo "$?"; [ "$which" = "$quick" ] && echo "the quick one"
wait $slow; echo "slow $?"
