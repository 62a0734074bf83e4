#!/usr/bin/env python3
# beside_serf.py - the membership of Grapevine beside that of serf (HashiCorp), on one schedule of faults.
#
# Each of the two clusters has N hosts of its own on this machine: network namespaces behind a switch
# (a bridge). Both live through the same faults at the same moments: a process killed and restarted, a
# host whose cable is pulled and put back, a cluster split in two and made whole, a process that
# stands still for 20 s. What every node believes is read from what it logs, as it logs it; what it sends is read
# from the counters of its interface. Both encrypt; serf runs with its profile for a LAN. Needs root; run by `tools/bench serf`,
# which gives it namespaces of network and mounts of its own, so that nothing is left behind.
import argparse
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

NET = {"grapevine": "10.81.0", "serf": "10.82.0"}


def sh(command):
    subprocess.run(["/bin/sh", "-ec", command], check=True)


class Cluster:
    """N nodes of one kind, and what each of them believes of the others."""

    def __init__(self, kind, count, folder, binary_folder):
        self.kind, self.count, self.folder, self.bin = kind, count, folder, binary_folder
        self.net = NET[kind]
        self.tag = kind[0]
        self.processes = [None] * count
        self.lives = [0] * count
        self.seen = [dict() for _ in range(count)]  # observer -> {subject: (state, since)}
        self.faulty = {}  # subject -> why nobody, or only some, can reach it
        self.sides = None  # of a split: sets of nodes that see each other
        self.false_deaths = 0
        self.lock = threading.Lock()

    # ---- hosts ----

    def wire(self):
        t, n = self.tag, self.net
        sh(f"ip link add {t}lan type bridge forward_delay 0; ip link set {t}lan up; "
           f"ip link add {t}off type bridge forward_delay 0; ip link set {t}off up")
        for i in range(self.count):
            sh(f"ip netns add {t}{i}; ip link add {t}h{i} type veth peer name eth0 netns {t}{i}; "
               f"ip link set {t}h{i} master {t}lan up; ip -n {t}{i} link set lo up; "
               f"ip -n {t}{i} addr add {n}.{i + 1}/24 dev eth0; ip -n {t}{i} link set eth0 up")

    def cut(self, i, is_cut):
        sh(f"ip link set {self.tag}h{i} {'down' if is_cut else 'up'}")

    def move(self, i, away):
        sh(f"ip link set {self.tag}h{i} master {self.tag}{'off' if away else 'lan'}")

    def sent_bytes(self):
        """What the hosts have put on the wire: received by their ports of the switch."""
        links = json.loads(subprocess.check_output(["ip", "-j", "-s", "link"]))
        mine = re.compile(rf"^{self.tag}h\d+$")
        return sum(x["stats64"]["rx"]["bytes"] for x in links if mine.match(x["ifname"]))

    # ---- nodes ----

    def start(self, i):
        address, others = f"{self.net}.{i + 1}", [f"{self.net}.{k + 1}" for k in range(self.count) if k != i]
        if self.kind == "serf":
            argv = ["serf", "agent", f"-node=n{i}", f"-bind={address}:7946", "-rpc-addr=127.0.0.1:7373", "-profile=lan",
                    f"-encrypt={self.key}", "-log-level=info"]
            argv += [f"-retry-join={a}" for a in others] + ["-retry-interval=1s"]
        else:
            argv = [f"{self.bin}/grapevine", "--host", "127.0.0.1", "--port", "30000", "--prometheus-host", "127.0.0.1",
                    "--prometheus-port", "29000", "--mesh-host", address, "--mesh-port", "39527", "--mesh-keyring", self.key,
                    "--node-name", f"n{i}", "--threads", "1", "--drain-settle-secs", "0",
                    "--state-dir", f"{self.folder}/state-{i}", "--seeds", *others]
        log = open(f"{self.folder}/{self.kind}-{i}.log", "ab")
        process = subprocess.Popen(["ip", "netns", "exec", f"{self.tag}{i}", *argv], stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT)
        self.processes[i] = process
        self.lives[i] += 1
        with self.lock:
            self.seen[i] = {}
        threading.Thread(target=self.listen, args=(i, process, self.lives[i], log), daemon=True).start()

    def listen(self, i, process, life, log):
        ours = re.compile(r"member\.(alive|suspect|dead|left)\b.*?member=(n\d+)")
        theirs = re.compile(r"serf: EventMember(Join|Failed|Leave|Update): (n\d+)")
        names = {"Join": "alive", "Update": "alive", "Failed": "dead", "Leave": "left"}
        for line in process.stdout:
            at = time.monotonic()
            log.write(line)
            log.flush()
            match = (theirs if self.kind == "serf" else ours).search(line.decode(errors="replace"))
            if match:
                state = names.get(match.group(1), match.group(1))
                with self.lock:
                    if life == self.lives[i]:
                        self.believe(i, int(match.group(2)[1:]), state, at)

    def believe(self, observer, subject, state, at):
        if observer == subject or self.seen[observer].get(subject, ("", 0))[0] == state:
            return
        self.seen[observer][subject] = (state, at)
        apart = self.sides is not None and not any({observer, subject} <= s for s in self.sides)
        excused = subject in self.faulty or observer in self.faulty or apart
        if state == "dead" and not excused:
            self.false_deaths += 1

    def kill_all(self):
        for process in self.processes:
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()

    # ---- questions ----

    def agree(self, state, observers, subjects):
        """Since when do all observers hold all subjects for `state`? None: they do not."""
        last = 0.0
        with self.lock:
            for o in observers:
                for s in subjects:
                    if o != s:
                        now, at = self.seen[o].get(s, ("", 0.0))
                        if now != state:
                            return None
                        last = max(last, at)
        return last


def wait(clusters, what, limit_s):
    """What every cluster answers, each as soon as it does; None where it did not in time."""
    found = {c.kind: None for c in clusters}
    until = time.monotonic() + limit_s
    while time.monotonic() < until and None in found.values():
        for c in clusters:
            if found[c.kind] is None:
                found[c.kind] = what(c)
        time.sleep(0.01)
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, default=5)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--idle-seconds", type=float, default=15)
    parser.add_argument("--pause-seconds", type=float, default=20)
    arguments = parser.parse_args()
    count = arguments.nodes
    clusters = [Cluster(kind, count, arguments.folder, arguments.bin) for kind in NET]
    clusters[0].key = f"{arguments.folder}/mesh.keys"
    subprocess.run([f"{arguments.bin}/vinectl", "keys", "generate", clusters[0].key], check=True, stdout=subprocess.DEVNULL)
    clusters[1].key = subprocess.check_output(["serf", "keygen"], text=True).strip()
    everybody = list(range(count))
    rows = []

    def row(what, began, found):
        values = {k: None if v is None else max(0.0, v - began) for k, v in found.items()}
        rows.append((what, values, "s"))
        shown = ", ".join(f"{k} {'not in time' if v is None else f'{v:.2f} s'}" for k, v in values.items())
        print(f"  {what}: {shown}", file=sys.stderr)

    def whole(limit_s):
        return wait(clusters, lambda c: c.agree("alive", everybody, everybody), limit_s)

    try:
        began = time.monotonic()
        for c in clusters:
            c.wire()
            for i in everybody:
                c.start(i)
        row(f"{count} started together: all see all", began, whole(30))
        time.sleep(3)

        before = {c.kind: c.sent_bytes() for c in clusters}
        began = time.monotonic()
        time.sleep(arguments.idle_seconds)
        passed = time.monotonic() - began
        idle = {c.kind: (c.sent_bytes() - before[c.kind]) / passed / count for c in clusters}

        victim = count - 1
        others = everybody[:-1]
        for c in clusters:
            c.faulty[victim] = "killed"
            began = time.monotonic()
            pid = int(subprocess.check_output(["ip", "netns", "pids", f"{c.tag}{victim}"], text=True).split()[0])
            os.kill(pid, signal.SIGKILL)
            c.processes[victim].wait()
        row("killed (SIGKILL): dead on all others", began, wait(clusters, lambda c: c.agree("dead", others, [victim]), 30))
        began = time.monotonic()
        for c in clusters:
            c.start(victim)
        row("restarted: all see all", began, whole(40))
        time.sleep(3)

        began = time.monotonic()
        for c in clusters:
            c.faulty[victim] = "cut"
            c.cut(victim, True)
        row("host vanished (cable pulled): dead on all others", began,
            wait(clusters, lambda c: c.agree("dead", others, [victim]), 30))
        wait(clusters, lambda c: c.agree("dead", [victim], others), 30)
        began = time.monotonic()
        for c in clusters:
            c.cut(victim, False)
        row("cable back: all see all", began, whole(60))
        for c in clusters:
            c.faulty.clear()
        time.sleep(3)

        left, right = everybody[: count // 2 + 1], everybody[count // 2 + 1:]
        began = time.monotonic()
        for c in clusters:
            c.sides = [set(left), set(right)]
            for i in right:
                c.move(i, True)
        row(f"split {len(left)} | {len(right)}: each side has given up the other", began,
            wait(clusters, lambda c: None if None in (a := [c.agree("dead", left, right), c.agree("dead", right, left)])
                 else max(a), 40))
        began = time.monotonic()
        for c in clusters:
            for i in right:
                c.move(i, False)
        row("split healed: all see all", began, whole(60))
        for c in clusters:
            c.sides = None
        time.sleep(3)

        pids = []
        began = time.monotonic()
        for c in clusters:
            c.faulty[victim] = "paused"
            pids.append(int(subprocess.check_output(["ip", "netns", "pids", f"{c.tag}{victim}"], text=True).split()[0]))
            os.kill(pids[-1], signal.SIGSTOP)
        dead = wait(clusters, lambda c: c.agree("dead", others, [victim]), arguments.pause_seconds)
        row(f"stood still {arguments.pause_seconds:.0f} s (SIGSTOP): dead on all others", began, dead)
        time.sleep(max(0, began + arguments.pause_seconds - time.monotonic()))
        began = time.monotonic()
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        row("goes on (SIGCONT): all see all", began, whole(60))
        time.sleep(5)
        rows.append(("deaths declared of nodes that were well", {c.kind: float(c.false_deaths) for c in clusters}, "count"))
        rows.append(("sent by an idle node, bytes/s (of its interface)", idle, "count"))
    finally:
        for c in clusters:
            c.kill_all()

    version = subprocess.check_output(["serf", "version"], text=True).splitlines()[0]
    print(f"{count} nodes of each, sealed; serf {version.removeprefix('serf ').removeprefix('Serf ')} with profile lan; seconds unless "
          "another unit is named\n")
    print(f"{'':<58} {'grapevine':>12} {'serf':>12}")
    missing = False
    for what, values, unit in rows:
        cells = []
        for kind in NET:
            value = values[kind]
            missing = missing or (kind == "grapevine" and value is None)
            cells.append("not in time" if value is None else f"{value:.0f}" if unit == "count" else f"{value:.2f}")
        print(f"{what:<58} {cells[0]:>12} {cells[1]:>12}")
    ours = clusters[0]
    good = not missing and ours.false_deaths == 0
    print(f"\n{'good' if good else 'BAD'}: grapevine {'came through every fault' if not missing else 'did not come through'}, "
          f"{ours.false_deaths} false deaths")
    return 0 if good else 1


sys.exit(main())
