"""What a container finds: mounts, masked paths, devices, ids, limits of processes, sysctls, its control group, its network."""

import json
import os
import subprocess
import sys
import time

import harness


class EnvironmentTest(harness.ContainerTest):
    def output(self, *args, change=None, code=0, **process):
        self.config(*args, change=change, **process)
        result = self.runsc("run", "--bundle", self.bundle, self.new_id())
        self.assertEqual(result.code, code, result)
        return result.out

    def test_masked_and_read_only_paths(self):
        os.makedirs(os.path.join(self.rootfs, "secret"))
        for name in ("secret/file", "hidden"):
            with open(os.path.join(self.rootfs, name), "w") as file:
                file.write("secret")
        os.makedirs(os.path.join(self.rootfs, "fixed"))

        def change(document):
            document["linux"].update(maskedPaths=["/secret", "/hidden", "/no/such"], readonlyPaths=["/fixed", "/no/such"])

        out = self.output("sh", "-c", "ls /secret | wc -l; cat /hidden; touch /fixed/x 2>/dev/null; echo $?; touch /tmp/x; echo $?", change=change)
        self.assertEqual(out.split(), ["0", "1", "0"])

    def test_read_only_root(self):
        def change(document):
            document["root"]["readonly"] = True
            document["mounts"].append({"destination": "/made/by/the/runtime", "type": "tmpfs", "source": "tmpfs"})
        out = self.output("sh", "-c", "touch /x 2>&1; touch /made/by/the/runtime/x && echo fine", change=change)
        self.assertIn("Read-only file system", out)
        self.assertIn("fine", out)

    def test_writes_reach_the_root_and_overlay_keeps_them(self):
        self.output("sh", "-c", "echo 1 > /tmp/written")
        self.assertTrue(os.path.exists(os.path.join(self.rootfs, "tmp/written")))
        self.config("sh", "-c", "echo 1 > /tmp/kept && cat /tmp/kept")
        result = self.runsc("run", "--overlay", "memory", "--bundle", self.bundle, self.new_id())
        self.assertEqual((result.code, result.out), (0, "1\n"))
        self.assertFalse(os.path.exists(os.path.join(self.rootfs, "tmp/kept")))

    def test_overlay_in_a_folder(self):
        """Writes are on the host's disk, not in the root, until the container is deleted."""
        for option, folder in (("dir", lambda c: os.path.join(self.root, c, "overlay")), (f"dir:{self.folder}/up", lambda c: os.path.join(self.folder, "up", c))):
            os.makedirs(os.path.join(self.folder, "up"), exist_ok=True)
            self.config("sh", "-c", "rm /etc/passwd; echo 1 > /tmp/kept; mkdir -p /tmp/a/b/c; sleep 1000")
            container = self.start("--overlay", option)
            upper = os.path.join(folder(container), "upper")
            harness.wait_for(lambda: os.path.exists(os.path.join(upper, "tmp/a/b/c")), "the writes")
            self.assertEqual(self.ok("exec", container, "cat", "/tmp/kept"), "1\n")
            self.assertNotEqual(self.runsc("exec", container, "cat", "/etc/passwd").code, 0)
            # What an engine reaches behind the pid is the same.
            self.assertTrue(os.path.exists(f"/proc/{self.state(container)['pid']}/root/tmp/kept"))
            self.assertFalse(os.path.exists(os.path.join(self.rootfs, "tmp/kept")))
            self.assertTrue(os.path.exists(os.path.join(self.rootfs, "etc/passwd")))
            self.ok("delete", "--force", container)
            self.assertFalse(os.path.exists(folder(container)))
            self.assertTrue(os.path.exists(os.path.join(self.rootfs, "etc/passwd")))

    def test_overlay_takes_no_folder_that_is_there(self):
        container = self.new_id()
        os.makedirs(os.path.join(self.folder, container, "precious"))
        self.config("true")
        self.fails("File exists", "create", "--overlay", f"dir:{self.folder}", "--bundle", self.bundle, container)
        self.assertTrue(os.path.exists(os.path.join(self.folder, container, "precious")))
        self.fails("--overlay", "create", "--overlay", "dir:relative", "--bundle", self.bundle, container)

    def test_scheduling(self):
        out = self.output("sh", "-c", "ionice; exec cat /proc/self/stat", scheduler={"policy": "SCHED_BATCH", "nice": 5},
                          ioPriority={"class": "IOPRIO_CLASS_IDLE", "priority": 3})
        lines = out.splitlines()
        self.assertIn("idle", lines[0])
        fields = lines[1].rsplit(")", 1)[1].split()
        self.assertEqual((fields[16], fields[38]), ("5", "3"))  # nice and policy, proc_pid_stat(5)
        for process, text in (({"scheduler": {"policy": "SCHED_NONE"}}, "SCHED_NONE"), ({"scheduler": {"policy": "SCHED_FIFO"}}, "priority"),
                              ({"ioPriority": {"class": "IOPRIO_CLASS_NO"}}, "IOPRIO_CLASS_NO")):
            self.config("true", **process)
            self.fails(text, "create", "--bundle", self.bundle, self.new_id())

    def test_affinity_of_exec(self):
        cpus = sorted(os.sched_getaffinity(0))
        self.config("sleep", "1000", execCPUAffinity={"initial": str(cpus[0]), "final": str(cpus[-1])})
        container = self.start()
        status = self.ok("exec", container, "grep", "Cpus_allowed_list", "/proc/self/status")
        self.assertEqual(status.split()[1], str(cpus[-1]))

    def test_personality(self):
        self.assertEqual(self.output("uname", "-m", change=lambda d: d["linux"].update(personality={"domain": "LINUX32"})), "i686\n")
        self.assertEqual(self.output("uname", "-m", change=lambda d: d["linux"].update(personality={"domain": "LINUX"})), "x86_64\n")
        self.config("true", change=lambda d: d["linux"].update(personality={"domain": "MINIX"}))
        self.fails("MINIX", "create", "--bundle", self.bundle, self.new_id())

    def test_time_offsets(self):
        def change(document):
            document["linux"]["namespaces"].append({"type": "time"})
            document["root"].update(path="/", readonly=True)
            document["linux"]["timeOffsets"] = {"boottime": {"secs": 1000000}, "monotonic": {"secs": 2000000, "nanosecs": 5}}

        # The host's own Python, which can ask for clocks. A wait on a shifted clock takes as long as ever.
        program = "import time; time.sleep(0.01); print(time.clock_gettime(time.CLOCK_BOOTTIME), time.monotonic())"
        self.config("sleep", "1000", change=change)
        container = self.start()
        boottime, monotonic = map(float, self.ok("exec", container, os.path.realpath(sys.executable), "-c", program).split())
        self.assertAlmostEqual(boottime - time.clock_gettime(time.CLOCK_BOOTTIME), 1000000, delta=60)
        self.assertAlmostEqual(monotonic - time.monotonic(), 2000000, delta=60)
        pid = self.state(container)["pid"]
        self.assertNotEqual(os.readlink(f"/proc/{pid}/ns/time"), os.readlink("/proc/self/ns/time"))
        self.config("true", change=lambda d: d["linux"].update(timeOffsets={"boottime": {"secs": 1}}))
        self.fails("timeOffsets", "create", "--bundle", self.bundle, self.new_id())

    def test_what_there_is_not(self):
        bind = {"destination": "/m", "type": "bind", "source": self.folder, "options": ["bind", "idmap"]}
        for change, text in ((lambda d: d["linux"].update(intelRdt={"closID": "a"}), "intelRdt"), (lambda d: d["mounts"].append(bind), "id-mapped")):
            self.config("true", change=change)
            self.fails(text, "create", "--bundle", self.bundle, self.new_id())

    def test_propagation_of_the_root(self):
        script = "mkdir -p /target /mnt /there && touch /there/file && mount -o rbind / /target && mount -o bind /there /mnt && ls /target/mnt"

        def change(kind):
            def edit(document):
                document["linux"]["rootfsPropagation"] = kind
                for capabilities in document["process"]["capabilities"].values():
                    capabilities.append("CAP_SYS_ADMIN")
            return edit

        for kind, seen in (("shared", "file\n"), ("rshared", "file\n"), ("slave", ""), ("private", "")):
            self.assertEqual(self.output("sh", "-c", script, change=change(kind)), seen, kind)
        self.output("sh", "-c", "mkdir -p /target; mount -o rbind / /target", change=change("unbindable"), code=255)
        self.config("true", change=change("sideways"))
        self.fails("rootfsPropagation", "create", "--bundle", self.bundle, self.new_id())

    def test_binds_and_later_mounts_of_the_host(self):
        """A private bind is as it was; others follow the host."""
        source = os.path.join(self.folder, "source")
        os.makedirs(os.path.join(source, "point"))
        self.config("sleep", "1000", change=lambda d: d["mounts"].extend(
            {"destination": f"/{name}", "type": "bind", "source": source, "options": ["rbind", name]} for name in ("rprivate", "rslave")))
        container = self.start()
        subprocess.check_call(["mount", "-t", "tmpfs", "later", os.path.join(source, "point")])
        self.addCleanup(subprocess.call, ["umount", "-l", os.path.join(source, "point")], stderr=subprocess.DEVNULL)
        with open(os.path.join(source, "point/file"), "w") as file:
            file.write("later")
        self.assertEqual(self.ok("exec", container, "cat", "/rslave/point/file"), "later")
        self.assertEqual(self.ok("exec", container, "ls", "/rprivate/point"), "")
        # Lazily: the gofer remembers what it has looked at.
        subprocess.check_call(["umount", "-l", os.path.join(source, "point")])
        self.assertEqual(self.ok("exec", container, "ls", "/rslave/point"), "")

    def test_namespaces_of_the_pid(self):
        """What engines see behind the pid: new ones, those of a path, and the runtime's own for types that are not named."""
        kinds = {"pid": "pid", "ipc": "ipc", "uts": "uts", "mount": "mnt"}
        own = {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in kinds.values()}

        def of(container):
            pid = self.state(container)["pid"]
            return {kind: os.readlink(f"/proc/{pid}/ns/{kind}") for kind in kinds.values()}

        self.config("sleep", "1000")
        first = self.start()
        new = of(first)
        for kind in kinds.values():
            self.assertNotEqual(new[kind], own[kind])
        pid = self.state(first)["pid"]

        def share(document):
            for ns in document["linux"]["namespaces"]:
                if ns["type"] in kinds:
                    ns["path"] = f"/proc/{pid}/ns/{kinds[ns['type']]}"

        self.config("sh", "-c", "echo works > /tmp/second; exec sleep 1000", change=share)
        second = self.start()
        self.assertEqual(of(second), new)
        self.assertEqual(self.ok("exec", second, "cat", "/tmp/second"), "works\n")
        self.config("sleep", "1000", change=lambda d: d["linux"].update(namespaces=[{"type": "network"}]))
        third = self.start()
        self.assertEqual(of(third), own)
        self.assertEqual(self.ok("exec", third, "cat", "/tmp/second"), "works\n")
        # The first one's process, init of the namespace, ends when those in it are reaped.
        pid = self.state(second)["pid"]
        self.ok("delete", "--force", second)
        self.wait_exit(pid)
        # Nothing of it reaches the host's tree.
        with open("/proc/self/mountinfo") as file:
            self.assertNotIn(self.folder, file.read())

    def test_host_name_of_the_namespace(self):
        """Without a name in the bundle it is the namespace's, or the runtime's, which a new one starts with."""
        def change(document, path=None, named=True):
            document["hostname"] = ""
            document["linux"]["namespaces"] = [ns for ns in document["linux"]["namespaces"] if ns["type"] != "uts"]
            if named:
                document["linux"]["namespaces"].append({"type": "uts", **({"path": path} if path else {})})

        own = os.uname().nodename
        self.assertEqual(self.output("hostname", change=change).strip(), own)
        self.assertEqual(self.output("hostname", change=lambda d: change(d, named=False)).strip(), own)
        with subprocess.Popen(["unshare", "--uts", "sh", "-c", "hostname elsewhere; echo; exec sleep 1000"], stdout=subprocess.PIPE) as other:
            other.stdout.readline()
            self.assertEqual(self.output("hostname", change=lambda d: change(d, f"/proc/{other.pid}/ns/uts")).strip(), "elsewhere")
            other.kill()

    def test_annotation_tightens(self):
        self.output("sh", "-c", "echo 1 > /tmp/kept", change=lambda d: d.update(annotations={"dev.runsc.overlay": "memory"}))
        self.assertFalse(os.path.exists(os.path.join(self.rootfs, "tmp/kept")))
        self.config("true", change=lambda d: d.update(annotations={"dev.runsc.overlay": "none"}))
        self.fails("dev.runsc.overlay", "create", "--overlay", "memory", "--bundle", self.bundle, self.new_id())

    def test_oom_score(self):
        self.assertEqual(self.output("cat", "/proc/self/oom_score_adj", oomScoreAdj=500).strip(), "500")

    def test_mountinfo_has_the_order_and_the_sources(self):
        shared = os.path.join(self.folder, "shared")
        os.makedirs(shared)

        def change(document):
            document["mounts"] += [{"destination": "/tmp", "type": "tmpfs", "source": "scratch"},
                                   {"destination": "/tmp/b", "type": "bind", "source": shared, "options": ["rbind"]}]

        lines = [line.split() for line in self.output("cat", "/proc/self/mountinfo", change=change).splitlines()]
        with open(os.path.join(self.bundle, "config.json")) as file:
            wanted = ["/"] + [mount["destination"] for mount in json.load(file)["mounts"]]
        self.assertEqual([line[4] for line in lines][:len(wanted)], wanted)
        self.assertIn("scratch", next(line for line in lines if line[4] == "/tmp"))
        # Of a bound folder, its place in the host's file system (proc_pid_mountinfo(5), field 4).
        self.assertEqual(next(line for line in lines if line[4] == "/tmp/b")[3], shared)

    def test_pseudo_terminals_are_those_of_devpts(self):
        self.assertEqual(self.output("sh", "-c", "readlink /dev/ptmx; test -c /dev/ptmx && echo node").split(), ["pts/ptmx", "node"])

    def test_user_namespace(self):
        """Files belong to the container's ids on both sides, and what the host maps elsewhere is nobody's."""
        os.chmod(self.folder, 0o755)
        theirs = os.path.join(self.rootfs, "tmp/theirs")
        os.makedirs(theirs)
        os.chown(theirs, 100000, 100001)

        def change(document):
            document["linux"]["namespaces"].append({"type": "user"})
            for kind in ("uidMappings", "gidMappings"):
                document["linux"][kind] = [{"containerID": 0, "hostID": 100000, "size": 1000}]

        out = self.output("sh", "-c", "stat -c '%u %g' /tmp/theirs /bin/busybox; echo 1 > /tmp/theirs/new; cat /proc/self/uid_map", change=change)
        self.assertEqual(out.split(), ["0", "1", "65534", "65534", "0", "100000", "1000"])
        new = os.stat(os.path.join(theirs, "new"))
        self.assertEqual((new.st_uid, new.st_gid), (100000, 100000))

    def test_namespaces_are_of_their_type(self):
        for kind, path, text in (("network", "/proc/self/ns/ipc", "not a namespace of type"), ("ipc", "/etc/passwd", "not a namespace of type"),
                                 ("uts", "/no/such", "No such file"), ("nosuch", "", "unknown type")):
            def change(document):
                spaces = [ns for ns in document["linux"]["namespaces"] if ns["type"] != kind]
                document["linux"]["namespaces"] = spaces + [{"type": kind, "path": path}]
            self.config("true", change=change)
            self.fails(text, "create", "--bundle", self.bundle, self.new_id())

    def test_sysctls_of_the_network(self):
        names = {"net.ipv4.ip_forward": "1", "net.ipv4.conf.lo.rp_filter": "2"}
        out = self.output("cat", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv4/conf/lo/rp_filter", change=lambda d: d["linux"].update(sysctl=names))
        self.assertEqual(out.split(), ["1", "2"])

    def test_the_hosts_network_is_left_as_it_is(self):
        """Also when the bundle names its namespace."""
        def change(document):
            spaces = [ns for ns in document["linux"]["namespaces"] if ns["type"] != "network"]
            document["linux"]["namespaces"] = spaces + [{"type": "network", "path": "/proc/self/ns/net"}]
        self.config("true", change=change)
        script = '"$@" && cat /proc/sys/net/ipv4/ip_unprivileged_port_start'
        argv = ["unshare", "--net", "sh", "-c", script, "sh", *self.argv("run", "--bundle", self.bundle, self.new_id())]
        self.assertEqual(subprocess.check_output(argv, text=True).strip(), "1024")

    def test_ping(self):
        """By a raw socket, as busybox does it, and only with the capability."""
        def change(document):
            for kind in ("bounding", "effective", "permitted"):
                document["process"]["capabilities"][kind].append("CAP_NET_RAW")
        out = self.output("ping", "-c", "1", "127.0.0.1", change=change)
        self.assertRegex(out, "64 bytes from 127.0.0.1: seq=0 ttl=64")
        self.assertIn("1 packets received", out)
        self.output("ping", "-c", "1", "127.0.0.1", code=1)

    def test_bind_mounts(self):
        shared = os.path.join(self.folder, "shared")
        os.makedirs(shared)
        with open(os.path.join(shared, "file"), "w") as file:
            file.write("content\n")

        def change(document):
            document["mounts"] += [{"destination": "/rw", "type": "bind", "source": shared, "options": ["rbind", "rw"]},
                                   {"destination": "/ro", "type": "bind", "source": shared, "options": ["bind", "ro"]},
                                   {"destination": "/etc/one", "type": "bind", "source": shared + "/file", "options": ["bind"]}]
        out = self.output("sh", "-c", "cat /etc/one; touch /rw/new && echo written; touch /ro/x 2>/dev/null || echo refused", change=change)
        self.assertEqual(out.split(), ["content", "written", "refused"])
        self.assertTrue(os.path.exists(os.path.join(shared, "new")))

    def test_mounts_keep_the_bundles_order(self):
        def change(document):
            document["mounts"] += [{"destination": f"/tmp/{n}", "type": "tmpfs", "source": f"source{n}"} for n in (3, 1, 2)]
        lines = self.output("cat", "/proc/self/mountinfo", change=change).splitlines()
        points = [line.split()[4] for line in lines]
        self.assertEqual(points[0], "/")
        self.assertEqual([p for p in points if p.startswith("/tmp/")], ["/tmp/3", "/tmp/1", "/tmp/2"])
        self.assertEqual([line.split(" - ")[1].split()[1] for line in lines if " /tmp/" in line], ["source3", "source1", "source2"])

    def test_devices(self):
        def change(document):
            document["linux"]["devices"] = [{"type": "c", "path": "/dev/extra", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 7, "gid": 8}]
        out = self.output("sh", "-c", "echo x > /dev/extra && stat -c '%a %u %g %t %T' /dev/extra 2>/dev/null || ls -ln /dev/extra", change=change)
        self.assertRegex(out, r"crw-r----- +1 7 +8 +1, +3|640 7 8 1 3")

    def test_ids_and_capabilities(self):
        caps = ["CAP_CHOWN"]
        out = self.output("sh", "-c", "id -u; id -g; id -G; umask; grep CapEff /proc/self/status; grep CapBnd /proc/self/status",
                          user={"uid": 5, "gid": 6, "additionalGids": [7, 8], "umask": 0o27},
                          capabilities={k: caps for k in ("bounding", "effective", "inheritable", "permitted", "ambient")})
        self.assertEqual(out.split(), ["5", "6", "6", "7", "8", "0027", "CapEff:", "0000000000000001", "CapBnd:", "0000000000000001"])

    def test_rlimits_hostname(self):
        def change(document):
            document.update(hostname="its-name", domainname="its.domain")
        out = self.output("sh", "-c", "ulimit -n; hostname; cat /proc/sys/kernel/domainname", change=change,
                          rlimits=[{"type": "RLIMIT_NOFILE", "soft": 123, "hard": 456}])
        self.assertEqual(out.split(), ["123", "its-name", "its.domain"])

    def test_network_none(self):
        self.config("ip", "addr")
        result = self.runsc("--network", "none", "run", "--bundle", self.bundle, self.new_id())
        self.assertIn("127.0.0.1", result.out)

    def test_seccomp_profile(self):
        def change(document):
            document["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                {"names": ["mkdir", "mkdirat", "nosuchcall"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]}
        self.assertIn("not permitted", self.output("sh", "-c", "mkdir /tmp/x 2>&1; touch /tmp/y && echo $?", change=change))
        self.config("true", change=lambda d: d["linux"].update(seccomp={"defaultAction": "SCMP_ACT_MARTIAN"}))
        self.fails("SCMP_ACT_MARTIAN", "create", "--bundle", self.bundle, self.new_id())


if __name__ == "__main__":
    harness.main()
