"""The container's network as guests see it: interfaces, addresses, routes, sysctls, privileged ports, ping."""

import os
import subprocess

import harness


def ip(*args):
    return subprocess.run(["ip", *args], check=True, capture_output=True, text=True).stdout


class NetworkTest(harness.ContainerTest):
    count = 0

    def setUp(self):
        super().setUp()
        # A network as an engine makes it: a veth pair, an address and a default route.
        # Names of its own for each test: the host takes an old pair away some time after its namespace.
        NetworkTest.count += 1
        self.ns, self.outside = f"r{os.getpid()}.{self.count}", f"v{os.getpid()}.{self.count}"[:15]
        ip("netns", "add", self.ns)
        self.addCleanup(ip, "netns", "delete", self.ns)
        ip("link", "add", self.outside, "type", "veth", "peer", "name", "eth0", "netns", self.ns)
        ip("addr", "add", "198.18.0.1/24", "dev", self.outside)
        ip("link", "set", self.outside, "up")
        inside = ("-n", self.ns)
        ip(*inside, "addr", "add", "198.18.0.2/24", "dev", "eth0")
        ip(*inside, "link", "set", "eth0", "up")
        ip(*inside, "link", "set", "lo", "up")
        ip(*inside, "route", "add", "default", "via", "198.18.0.1")

    def configure(self, *args, sysctl=None, capabilities=None):
        def change(document):
            for ns in document["linux"]["namespaces"]:
                if ns["type"] == "network":
                    ns["path"] = f"/var/run/netns/{self.ns}"
            document["linux"]["sysctl"] = sysctl or {}
            if capabilities is not None:
                for kind in ("bounding", "effective", "permitted"):
                    document["process"]["capabilities"][kind] = capabilities

        self.config(*args, change=change)

    def run_inside(self, script, **options):
        self.configure("sh", "-c", script, **options)
        container = self.new_id()
        result = self.runsc("run", "--bundle", self.bundle, container)
        self.made.remove(container)
        return result

    def inside(self, script, **options):
        result = self.run_inside(script, **options)
        self.assertEqual(result.code, 0, result)
        return result.out

    def test_low_port_in_the_hosts_network(self):
        """The runtime's own network namespace: ports below 1024 are for guests with CAP_NET_BIND_SERVICE."""
        own = f"{self.ns}h"
        ip("netns", "add", own)
        self.addCleanup(ip, "netns", "delete", own)
        ip("-n", own, "link", "set", "lo", "up")
        for capabilities, text in (["CAP_NET_BIND_SERVICE"], "served"), ([], "bind"):
            def change(document, capabilities=capabilities):
                document["linux"]["namespaces"] = [ns for ns in document["linux"]["namespaces"] if ns["type"] != "network"]
                for kind in ("bounding", "effective", "permitted"):
                    document["process"]["capabilities"][kind] = capabilities

            self.config("sh", "-c", "echo served | nc -l -p 80 & for i in $(seq 1000); do nc 127.0.0.1 80 && break; kill -0 $! || break; done; wait", change=change)
            container = self.new_id()
            result = subprocess.run(["ip", "netns", "exec", own, *self.argv("run", "--bundle", self.bundle, container)], capture_output=True,
                                    text=True, stdin=subprocess.DEVNULL, timeout=harness.LIMIT)
            self.assertIn(text, result.stdout + result.stderr)

    def test_interfaces_and_addresses(self):
        text = self.inside("ip addr")
        self.assertIn("eth0", text)
        self.assertIn("inet 198.18.0.2/24", text)
        self.assertIn("inet 127.0.0.1/8", text)

    def test_routes(self):
        text = self.inside("ip route")
        self.assertIn("default via 198.18.0.1 dev eth0", text)
        self.assertIn("198.18.0.0/24 dev eth0", text)

    def test_proc_net(self):
        self.assertIn("eth0:", self.inside("cat /proc/net/dev"))
        gateway = "010012C6"  # 198.18.0.1 as /proc/net/route has it
        self.assertIn(f"eth0\t00000000\t{gateway}", self.inside("cat /proc/net/route"))

    def test_an_interface_that_comes_later(self):
        self.configure("sleep", "1000")
        container = self.start()
        self.assertNotIn("dummy9", self.ok("exec", container, "ip", "addr"))
        ip("-n", self.ns, "link", "add", "dummy9", "type", "veth", "peer", "name", "peer9")
        self.assertIn("dummy9", self.ok("exec", container, "ip", "addr"))

    def test_privileged_ports(self):
        # nc -l ends when its time is over, or at once when it cannot bind.
        serve = "nc -l -p 80 -w 1 < /dev/null"
        self.assertIn("ermission", self.run_inside(serve, capabilities=["CAP_KILL"]).err)
        self.assertNotIn("ermission", self.run_inside(serve, capabilities=["CAP_NET_BIND_SERVICE"]).err)
        open_to_all = {"net.ipv4.ip_unprivileged_port_start": "0"}
        self.assertNotIn("ermission", self.run_inside(serve, capabilities=["CAP_KILL"], sysctl=open_to_all).err)

    def test_ping(self):
        text = self.inside("ping -c 1 -W 5 198.18.0.1", capabilities=["CAP_NET_RAW"])
        self.assertIn("1 packets received", text)
        self.assertNotEqual(self.run_inside("ping -c 1 -W 5 198.18.0.1", capabilities=["CAP_KILL"]).code, 0)

    def test_sysctls(self):
        sysctl = {"net.ipv4.ip_forward": "1", "kernel.shmmax": "1048576", "kernel.msgmax": "4096", "kernel.sem": "100 1000 50 60",
                  "fs.mqueue.msg_max": "20", "net.ipv4.ip_unprivileged_port_start": "500"}
        self.configure("sleep", "1000", sysctl=sysctl)
        container = self.start()
        for name, value in sysctl.items():
            seen = self.ok("exec", container, "cat", "/proc/sys/" + name.replace(".", "/"))
            self.assertEqual(seen.split(), value.split(), name)
        self.assertEqual(ip("netns", "exec", self.ns, "cat", "/proc/sys/net/ipv4/ip_forward"), "1\n")
        for name in ("kernel.panic", "vm.swappiness", "kernel.no_such_thing"):
            self.configure("true", sysctl={name: "1"})
            self.fails("not a sysctl of a container's namespaces", "create", "--bundle", self.bundle, self.new_id())

    def test_nothing_can_be_changed(self):
        self.configure("sleep", "1000", capabilities=["CAP_NET_ADMIN", "CAP_SYS_ADMIN"])
        container = self.start()
        for command in ("ip link set eth0 down", "ip addr add 198.18.0.9/24 dev eth0", "ip route del default"):
            self.assertNotEqual(self.runsc("exec", container, "sh", "-c", command).code, 0, command)
        self.assertIn("198.18.0.2/24", ip("-n", self.ns, "addr"))


if __name__ == "__main__":
    harness.main()
