#!/bin/bash
# A terminal made by script(1) and by python's pty: line discipline, control characters, job control, size.
script -qec 'test -t 0 && test -t 1 && echo terminal; stty -a | tr ";" "\n" | grep -E "intr|quit|erase"; exit 3' /dev/null < /dev/null | tr -d '\r'; echo "${PIPESTATUS[0]}"
cat > /tmp/terminal.py <<'EOF'
import fcntl, os, pty, re, select, struct, sys, termios, time
def session(argv, steps, size=(30, 100)):
    """Runs argv on a terminal; each step is (text to wait for, text to type) or (text, text, "job"), which waits for argv to
    give the terminal to a job too. Prints what the terminal showed."""
    pid, fd = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0)); os.execvp(argv[0], argv)
    shown, end = "", time.time() + 15
    steps = list(steps)
    while time.time() < end:
        if select.select([fd], [], [], 0.1)[0]:
            try: data = os.read(fd, 4096)
            except OSError: break
            if not data: break
            shown += data.decode()
        if steps and steps[0][0] in shown.split("\x00")[-1] and (len(steps[0]) < 3 or os.tcgetpgrp(fd) != pid):
            os.write(fd, steps[0][1].encode()); shown += "\x00"; steps.pop(0)
    if time.time() >= end: os.kill(pid, 9)
    print(re.sub(r"\[(\d)\] \d+", r"[\1] PID", repr(shown.replace("\x00", "")))); print("status", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
session(["cat"], [("", "hello\n"), ("hello\r\nhello", "erasX\x7fe\n"), ("erase", "\x04")])
session(["sh", "-c", "trap 'echo caught; exit 4' INT; echo ready; while :; do sleep 0.1; done"], [("ready", "\x03")])
session(["sh", "-c", "echo ready; exec sleep 10"], [("ready", "\x1c")])
session(["stty", "size"], [])
session(["sh", "-c", "stty raw -echo; echo ready; head -c 3 | od -c; stty sane"], [("ready", "a\x03\r")])
# Each step waits for a prompt, so that echo and prompt cannot change places.
session(["bash", "--norc", "--noediting", "-i"], [("# ", "PS1='1> '; sh -c 'echo go$((1)); exec sleep 77'\n"), ("go1\r", "\x1a"), ("\n1> ", "PS1='2> '; fg\n"), ("sleep 77'\r", "\x03", "job"),
    ("\n2> ", "echo $?; PS1='3> '; sleep 77 & jobs\n"), ("\n3> ", "PS1='4> '; kill %1; wait %1; echo $?\n"), ("\n4> ", "exit 6\n")])
EOF
exec python3 /tmp/terminal.py 2>&1
