#!/bin/bash
declare -A map=([one]=1 [two]=2); for k in one two; do echo "$k=${map[$k]}"; done
mapfile -t lines < <(printf '%s\n' a b c); echo "${#lines[@]} ${lines[*]}"
s="hello world"; echo "${s^^} ${s:6} ${s/o/0} ${#s}"
[[ "abc123" =~ ([a-z]+)([0-9]+) ]] && echo "${BASH_REMATCH[1]} ${BASH_REMATCH[2]}"
printf '%05d %x %q %s\n' 42 255 'a b' end
nosuchcommand 2>/dev/null; echo $?
/etc/passwd 2>/dev/null; echo $?
/nonexistent/x 2>/dev/null; echo $?
read -t 0.2 x < <(sleep 1); echo "read timeout $(( $? > 128 ))"
echo "umask $(umask)"; umask 077; touch /tmp/private; stat -c %a /tmp/private
set -e; (set +e; false; echo "still here"); if false; then :; fi; echo end
ulimit -Sn; ulimit -Hn
[ -t 0 ] || echo "stdin is no terminal"
