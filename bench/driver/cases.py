"""The macro benchmarks: real programs, run as shell commands in the container.

In a script, $B is the folder with the benchmark's files and $S an empty folder to write in. A `time` case is timed by the
guest itself, `before` untimed; a `rate` case prints lines `NAME RATE`.
"""

import dataclasses
import shlex

# Scaled down (N, and short durations) in the smoke run, where figures mean nothing.
FULL = {"COMMANDS": 200, "FILES": 2000, "STATS": 100000, "SPAWNS": 50, "REQUESTS": 40000, "SECONDS": 2, "LOOPS": 5000000, "TREE": "/"}
SMOKE = {"COMMANDS": 5, "FILES": 20, "STATS": 100, "SPAWNS": 2, "REQUESTS": 500, "SECONDS": 1, "LOOPS": 1000, "TREE": "/etc"}

IMPORTS = "json,re,subprocess,asyncio,email.message,http.client,unittest,decimal,argparse,logging"

REDIS = r"""
cd $S
redis-server --port $PORT --save '' --appendonly no >/dev/null 2>&1 &
for i in $(seq 500); do redis-cli -p $PORT ping >/dev/null 2>&1 && break; sleep 0.02; done
redis-benchmark -p $PORT --csv -t set,get -c 50 -n $REQUESTS %s | tr -d '"' | awk -F, '$1 == "GET" || $1 == "SET" { print "%s_" tolower($1), $2 }'
redis-cli -p $PORT shutdown nosave >/dev/null 2>&1
wait
"""

NGINX = r"""
mkdir -p $S/logs $S/html
head -c 1024 /dev/zero | tr '\0' x >$S/html/index.html
cat >$S/nginx.conf <<CONF
worker_processes 1; daemon off; pid $S/nginx.pid; error_log $S/logs/error.log; user root;
events { worker_connections 256; }
http { access_log off; client_body_temp_path $S/a; proxy_temp_path $S/b; fastcgi_temp_path $S/c; uwsgi_temp_path $S/d; scgi_temp_path $S/e;
  server { listen 127.0.0.1:$PORT; root $S/html; } }
CONF
nginx -c $S/nginx.conf &
for i in $(seq 500); do [ -s $S/nginx.pid ] && break; sleep 0.02; done
wrk -t1 -c20 -d${SECONDS_}s http://127.0.0.1:$PORT/index.html | awk '$1 == "Requests/sec:" { print "nginx_wrk", $2 }'
kill $(cat $S/nginx.pid)
wait
"""

OPENSSL = r"""
openssl speed -seconds $SECONDS_ -bytes 8192 sha256 2>/dev/null | awk '$1 == "sha256" { sub("k", "", $2); print "openssl_sha256", $2 }'
"""


@dataclasses.dataclass
class Case:
    name: str
    command: str
    before: str = ""
    needs: tuple = ()
    kind: str = "time"
    prints: tuple = ()  # of a rate case: the names of its lines
    unit: str = "1/s"

    def names(self):
        return [f"macro/{n}" for n in (self.prints or (self.name,))]

    def script(self, base, scratch, smoke):
        sizes = dict(SMOKE if smoke else FULL)
        # SECONDS is a variable of the shell's own.
        settings = "; ".join(f"{'SECONDS_' if k == 'SECONDS' else k}={v}" for k, v in sizes.items())
        return f"export B={shlex.quote(base)} S={shlex.quote(scratch)}; unset MAKEFLAGS MAKELEVEL; PORT=$((20000 + $$ % 10000)); {settings}\n"

    def arguments(self, guest, base, scratch, smoke):
        """The command line that runs the case once in the container."""
        prefix = self.script(base, scratch, smoke)
        if self.kind == "rate":
            return ["/bin/sh", "-c", prefix + self.command]
        return [guest, "time", f"macro/{self.name}", "--repetitions=1", "--before=" + prefix + (self.before or ":"), prefix + self.command]


CASES = [
    Case("bash_200_commands", "bash -c 'for i in $(seq '$COMMANDS'); do /bin/true; done'", needs=("bash",)),
    Case("sh_pipeline_20", "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do echo $i | cat | wc -c; done"),
    Case("make_lua_j2", "make -C $S/lua/src -s -j2 linux", before="rm -rf $S/lua; cp -r $B/lua $S/lua", needs=("make", "gcc", "@lua")),
    Case("git_add_commit_2000", "cd $S/repo && git add -A && git -c user.name=b -c user.email=b@b commit -qm all",
         before="rm -rf $S/repo; mkdir $S/repo; cd $S/repo; git init -q; for d in $(seq 0 19); do mkdir d$d; "
                "for f in $(seq $((FILES / 20))); do echo $d $f >d$d/f$f; done; done", needs=("git",)),
    Case("find_root", "find $TREE -xdev >/dev/null || [ $TREE != / ]", needs=("find",)),
    Case("tar_usr_share", "tar -cf - -C / usr/share/doc | cat >/dev/null", needs=("tar", "@full")),
    Case("tar_small", "tar -cf - -C $B data | cat >/dev/null", needs=("tar",)),
    Case("cp_r", "cp -r $B/data $S/copy", before="rm -rf $S/copy"),
    Case("rm_r", "rm -r $S/copy", before="rm -rf $S/copy; cp -r $B/data $S/copy"),
    Case("python_start_imports", f"python3 -c 'import {IMPORTS}'", needs=("python3",)),
    Case("python_1e5_stat", "python3 -c 'import os\nfor i in range('$STATS'): os.stat(\"/etc/passwd\")'", needs=("python3",)),
    Case("python_50_subprocess", "python3 -c 'import subprocess\nfor i in range('$SPAWNS'): subprocess.run([\"/bin/true\"], check=True)'",
         needs=("python3",)),
    Case("node_start", "node -e 0", needs=("node",)),
    Case("perl_loop", "perl -e 'my $x = 0; $x += $_ * 2 for 1 .. '$LOOPS", needs=("perl",)),
    Case("openssl", OPENSSL, kind="rate", needs=("openssl",), prints=("openssl_sha256",), unit="kB/s"),
    Case("redis", REDIS % ("", "redis"), kind="rate", needs=("redis-server", "redis-benchmark"), prints=("redis_set", "redis_get")),
    Case("redis_pipelined", REDIS % ("-P 16", "redis_p16"), kind="rate", needs=("redis-server", "redis-benchmark"),
         prints=("redis_p16_set", "redis_p16_get")),
    Case("nginx", NGINX, kind="rate", needs=("nginx", "wrk"), prints=("nginx_wrk",)),
]

# The targets: at most this ratio to native (for rates and bandwidths: native's rate over ours).
TARGETS = {
    "calls/getpid": 0.5, "calls/gettid": 0.5, "calls/getuid": 0.5, "calls/clock_gettime_raw": 0.5, "calls/sched_yield": 1.3,
    "calls/lseek": 8, "calls/fcntl_getfd": 8,
    "futex/wake_nobody": 1.3, "futex/wait_changed": 1.3, "futex/ping_pong": 1.3, "futex/condvar_ping_pong": 1.3,
    "futex/mutex_contended": 1.3, "futex/thread_create_join": 4,
    "memory/touch_256m": 1.1, "memory/touch_file_4m": 1.2, "memory/mmap_touch_munmap": 4, "memory/mprotect_pair": 4,
    "memory/dontneed_touch": 4, "memory/sigsegv_handler": 4,
    "process/fork_wait": 2.5, "process/fork_exec_wait_static": 2, "process/posix_spawn_static": 2, "process/posix_spawn_bin_true": 2,
    "process/signal_to_self": 6,
    "files/open_close": 10, "files/stat_hit": 10, "files/stat_miss": 10, "files/access": 10, "files/readlink": 10,
    "files/pread_4k": 6, "files/pread_1m": 1.6, "files/create_write_unlink": 3, "files/rename": 3,
    "channels/pipe_ping_pong": 2.5, "channels/unix_stream_ping_pong": 2.5, "channels/unix_datagram_ping_pong": 2.5,
    "channels/eventfd_ping_pong": 2.5, "channels/tcp_ping_pong": 2.5, "channels/udp_ping_pong": 2.5,
    "channels/pipe_bandwidth": 1, "channels/unix_stream_bandwidth": 1, "channels/tcp_bandwidth": 1,
    "readiness/epoll_wait_ready": 8, "readiness/epoll_wait_empty": 8, "readiness/poll_100": 1.5,
    "macro/bash_200_commands": 1.8, "macro/make_lua_j2": 1.25, "macro/git_add_commit_2000": 1.5, "macro/find_root": 3,
    "macro/tar_usr_share": 3, "macro/cp_r": 3, "macro/python_start_imports": 1.5, "macro/python_1e5_stat": 6,
    "macro/python_50_subprocess": 2, "macro/node_start": 1.5, "macro/redis_set": 1 / 0.6, "macro/redis_get": 1 / 0.6,
    "macro/redis_p16_set": 1 / 0.8, "macro/redis_p16_get": 1 / 0.8, "macro/nginx_wrk": 2, "macro/openssl_sha256": 1.02,
    "macro/perl_loop": 1.02,
}
