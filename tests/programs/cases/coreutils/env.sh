#!/bin/bash
env | grep -v '^_=' | sort
env -i A=1 B='two words' env | sort
env -u HOME sh -c 'echo "${HOME-unset}"'
env --chdir=/usr pwd; env nosuchprogram; echo $?
X=6 env -S 'Y=7 echo ${X} $Y' 2>&1; X=6 env -S 'Y=7 printenv X Y'
env --ignore-signal=TERM sh -c 'kill -TERM $$; echo survived'
printenv PATH NOSUCH; echo $?
env -i A=1 B=2 cat /proc/self/environ | tr '\0' '\n'
