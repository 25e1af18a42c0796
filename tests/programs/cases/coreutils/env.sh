#!/bin/bash
env | grep -v '^_=' | sort
env -i A=1 B='two words' env | sort
env -u HOME sh -c 'echo "${HOME-unset}"'
env --chdir=/usr pwd; env nosuchprogram; echo $?
env -S 'X=5 sh -c "echo $X"'; X=6 env -S 'sh -c "echo \$X"'
env --ignore-signal=TERM sh -c 'kill -TERM $$; echo survived'
printenv PATH NOSUCH; echo $?
tr '\0' '\n' < /proc/self/environ | grep -c =
