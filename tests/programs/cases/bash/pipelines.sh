#!/bin/bash
seq 1 2000 | grep 7 | sort -rn | head -5 | tr '\n' ' '; echo "${PIPESTATUS[*]}"
set -o pipefail; false | true; echo "pipefail $?"
echo "left|right" | { IFS='|' read -r a b; echo "$b,$a"; }
diff <(seq 1 5) <(seq 2 6); echo "diff $?"
yes | head -n 100000 | wc -l
for i in 1 2 3 4; do echo "$i"; done | while read -r n; do echo $((n * n)); done | paste -sd+ | tee /tmp/sum | sed 's/$/ =/'
echo $(( $(cat /tmp/sum) ))
exec 5>&1; echo "to stdout through 5" >&5; exec 5>&-
{ echo out; echo err >&2; } 2>&1 | sort
coproc cat; echo "through a coprocess" >&"${COPROC[1]}"; read -r line <&"${COPROC[0]}"; echo "$line"
