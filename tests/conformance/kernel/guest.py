"""A Linux kernel in a process of its own, and a wire to it."""

import itertools
import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

import reference

HERE = pathlib.Path(__file__).resolve().parent
SCRIPT = str(HERE / "uml.sh")
OUR_MAC, GUEST_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"
MACS = [bytes.fromhex(mac.replace(":", "")) for mac in (GUEST_MAC, OUR_MAC)]
V4, V6 = ("192.168.50.1", "192.168.50.2"), ("fd50::1", "fd50::2")
CONTROL_PORT = 9
BOOT_SECONDS, ANSWER_SECONDS = 40, 10


class Unavailable(Exception):
    """This machine cannot run the guest."""


class Guest:
    """A context manager: boots, gives the kernel the lines of `ip -batch`, and ends everything at the end."""

    def __init__(self, batch):
        found = subprocess.run([SCRIPT, "CHECK"], capture_output=True, text=True)
        if found.returncode:
            raise Unavailable((found.stdout or found.stderr).strip())
        self.numbers = itertools.count(1)
        self.directory = tempfile.TemporaryDirectory(prefix="gipsec-kernel-")
        path = pathlib.Path(self.directory.name)
        (path / "batch").write_text("\n".join(batch) + "\n")
        self.wire, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.console = (path / "console").open("w+", errors="replace")
        command = [sys.executable, "-I", str(HERE / "agent.py"), GUEST_MAC, OUR_MAC, str(path / "batch")]
        self.process = subprocess.Popen(
            # A shell gives the socket the number that the script wants.
            ["bash", "-c", f'exec 3<&{other.fileno()}; exec "$@"', "bash", SCRIPT, "BOOT", *command],
            pass_fds=[other.fileno()], stdin=subprocess.DEVNULL, stdout=self.console, stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        other.close()
        try:
            self._wait()
            self.refused = self._refused(batch)
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        try:
            self.send(self._request(b"stop"))
            self.process.wait(5)
        except (OSError, subprocess.TimeoutExpired):
            pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.wire.close()
        self.console.close()
        self.directory.cleanup()

    def _wait(self):
        end = time.monotonic() + BOOT_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            try:
                self.command(b"statistics", 0.25)
                return
            except (TimeoutError, OSError):
                continue
        self.console.seek(0)
        raise Unavailable(f"the kernel did not come up: {self.console.read()[-400:].strip()!r}")

    def _refused(self, batch):
        """By line of the batch, what the kernel said when it refused it."""
        text = ""
        while part := self.command(b"refused %d" % len(text))[0]:
            text += part
        return {batch[int(number)]: said for number, said in (line.split(" ", 1) for line in text.splitlines())}

    def _request(self, command, number=0):
        payload = b"%d " % number + command
        udp = struct.pack("!HHHH", CONTROL_PORT, CONTROL_PORT, 8 + len(payload), 0) + payload
        addresses = b"".join(map(socket.inet_aton, V4))
        return reference.join(struct.pack("!BBHHHBBH", 0x45, 0, 0, 0, 0, 64, 0, 0) + addresses, reference.UDP, udp)

    def send(self, packet):
        self.wire.settimeout(ANSWER_SECONDS)
        self.wire.send(b"".join(MACS) + (b"\x08\x00" if packet[0] >> 4 == 4 else b"\x86\xdd") + packet)

    def command(self, command, seconds=ANSWER_SECONDS):
        """The answer to a command, and the packets that the kernel sent before it."""
        number = next(self.numbers)
        self.send(self._request(command, number))
        expected, packets = b"%d " % number, []
        end = time.monotonic() + seconds
        while True:
            self.wire.settimeout(max(0.001, end - time.monotonic()))
            frame = self.wire.recv(4096)
            packet = frame[14:]
            if frame[:6] != MACS[1] or frame[12:14] not in (b"\x08\x00", b"\x86\xdd"):
                continue  # neighbour discovery and its like
            if packet[0] >> 4 == 4 and packet[9] == reference.UDP and packet[20:22] == struct.pack("!H", CONTROL_PORT):
                if packet[28:].startswith(expected):
                    return packet[28 + len(expected) :].decode(), packets
                continue
            packets.append(_cut(packet))

    def exchange(self, packets, expected):
        """Sends packets; what came back, and which counters of /proc/net/xfrm_stat went up by how much.

        What the kernel takes out of a tunnel it may put aside for a moment, and answer this command first: it is asked
        again until there are as many answers as expected, for a second.
        """
        before, answers = self._statistics()
        assert not answers, "an answer to something earlier"
        for packet in packets:
            self.send(packet)
        after, answers = self._statistics()
        end = time.monotonic() + 1
        while len(answers) < expected and time.monotonic() < end:
            after, more = self._statistics()
            answers += more
        return answers, {name: after[name] - before[name] for name in after if after[name] != before[name]}

    def _statistics(self):
        text, packets = self.command(b"statistics")
        return {name: int(value) for name, value in map(str.split, text.splitlines())}, packets


def _cut(packet):
    """Without what fills a short frame."""
    length = struct.unpack("!H", packet[2:4])[0] if packet[0] >> 4 == 4 else 40 + struct.unpack("!H", packet[4:6])[0]
    return packet[:length]
