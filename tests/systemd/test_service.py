"""``blobfs@NAME`` under a real systemd: what an operator sees when it starts, changes, breaks and stops."""

import re

import pytest

from tests.mount.probes import until
from tests.systemd.booted import BootedSystem
from tests.systemd.installed import START_SECONDS, Service

NO_RIGHTS = "0" * 16
HANGING = "[Service]\nWatchdogSec=3\nTimeoutAbortSec=3\n"


@pytest.mark.parametrize(("unit", "limit"), [("blobfs@", 2.0), ("blobfs-serve@", 1.5)])
def test_units_are_closed_off(installed: BootedSystem, unit: str, limit: float) -> None:
    """`systemd-analyze security` finds little to object to, `systemd-analyze verify` nothing."""
    said = installed.run("systemd-analyze", "security", "--no-pager", f"{unit}x.service")
    found = re.search(r"exposure level for .*: ([0-9.]+)", said)
    assert found is not None, said
    assert float(found[1]) <= limit, said
    assert installed.run("systemd-analyze", "verify", "--man=no", f"{unit}x.service") == ""


def test_start_returns_when_the_mount_can_be_used(demo: Service) -> None:
    """Right after `systemctl start` a file can be written and read, by another user too."""
    assert demo.is_active()
    demo.share("greeting", "hello\n")
    assert demo.read("greeting", user="nobody") == "hello\n"
    assert demo.system.run("curl", "-s", f"{demo.url}greeting") == "hello\n"
    assert str(demo.mountpoint) in demo.system.show(demo.unit, "StatusText")


def test_log_is_in_the_journal_with_fields(demo: Service) -> None:
    """What the daemon says is found by its mountpoint, with its priority and the place in the code."""
    entry = next(each for each in demo.system.journal(f"BLOBFS_MOUNT={demo.mountpoint}") if "LOGGER" in each)
    assert entry["MESSAGE"] == f"mounted on {demo.mountpoint}, ready"
    assert (entry["LOGGER"], entry["PRIORITY"]) == ("blobfs.daemon.running", "6")
    # The library adds the place of its own call, and a field may have several values.
    assert any(place.endswith("/blobfs/daemon/running.py") for place in entry["CODE_FILE"])
    assert entry["_SYSTEMD_UNIT"] == demo.unit


def test_daemon_has_no_privilege(demo: Service) -> None:
    """It runs as its own user, without any capability, and cannot get one; only its store can be written."""
    status = demo.status()
    assert set(status["Uid"].split()) == {demo.system.run("id", "-u", "blobfs").strip()}
    assert (status["CapEff"], status["CapPrm"], status["CapBnd"]) == (NO_RIGHTS, NO_RIGHTS, NO_RIGHTS)
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    mounts = demo.system.read(f"/proc/{demo.pid()}/mountinfo").splitlines()
    writable = {line.split(" ")[4] for line in mounts if line.split(" ")[5].startswith("rw")}
    assert str(demo.store) in writable
    assert not writable & {"/", "/usr", "/etc", "/var", "/srv", str(demo.mountpoint)}
    assert demo.system.show(demo.unit, "NFileDescriptorStore") == "0"
    # By what is noted there root unmounts.
    assert demo.system.run("stat", "--format=%U %a", "/run/blobfs", "/run/blobfs/demo.mountpoint") == (
        "root 755\nroot 644\n"
    )


def test_limits_of_the_kernel_are_raised(demo: Service) -> None:
    """The unprivileged daemon reads as far ahead, and has as many requests in the background, as root's."""
    line = next(line for line in demo.system.read("/proc/1/mountinfo").splitlines() if "fuse.blobfs" in line)
    device = line.split(" ")[2]
    assert demo.system.read(f"/sys/class/bdi/{device}/read_ahead_kb") == "4096\n"
    connection = device.partition(":")[2]
    assert demo.system.read(f"/sys/fs/fuse/connections/{connection}/max_background") == "512\n"


def test_reload_keeps_the_daemon_and_the_mount(demo: Service) -> None:
    """`systemctl reload` takes what can be taken while it runs; open files do not notice."""
    former = demo.pid()
    demo.share("kept", "kept\n")
    with demo.system.started(
        "sh", "-c", f"exec 3<{demo.mountpoint}/kept; echo open; read go; cat <&3"
    ) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None
        assert reader.stdout.readline() == "open\n"
        demo.configure("[space]\nquota = '64M'\n")
        demo.system.run("systemctl", "reload", demo.unit)
        until(
            lambda: demo.node_status()["space"]["quota"] == 64 << 20, "the quota is in force", START_SECONDS
        )
        assert reader.communicate("go\n", timeout=20)[0] == "kept\n"
    assert demo.pid() == former


def test_wrong_configuration_is_told_and_not_tried_again(demo: Service) -> None:
    """`systemctl start` fails at once; the journal has file, line and what was expected."""
    demo.stop()
    demo.configure("[space]\nquta = '64M'\n")
    assert demo.system.code("systemctl", "start", demo.unit, seconds=START_SECONDS) != 0
    assert f"{demo.config}:7: space.quta" in demo.system.said(demo.unit)
    assert demo.system.show(demo.unit, "ActiveState") == "failed"
    assert demo.system.show(demo.unit, "ExecMainStatus") == "2"
    assert demo.system.show(demo.unit, "NRestarts") == "0"
    assert not demo.is_mounted()


def test_wrong_configuration_does_not_keep_it_from_being_stopped(demo: Service) -> None:
    """A file that was broken while the service ran: the stop unmounts all the same."""
    demo.system.write(demo.config, "this is no configuration")
    demo.stop()
    assert not demo.is_mounted()


@pytest.mark.usefixtures("dropping_caches")
def test_crash_is_an_error_for_readers_and_heals(demo: Service) -> None:
    """P9, P3: kill -9: who has a file open gets an errno, not a hang; a moment later all is there again."""
    demo.share("before", "before\n")
    former = demo.pid()
    waits = f"exec 3<{demo.mountpoint}/before; echo open; read go; cat <&3; echo $?"
    with demo.system.started("sh", "-c", waits) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None
        assert reader.stdout.readline() == "open\n"
        demo.system.run("kill", "-KILL", str(former))
        demo.wait_restarted(former)
        demo.system.run("sh", "-c", "echo 3 >/proc/sys/vm/drop_caches")
        said = reader.communicate("go\n", timeout=20)[0]
    assert said.endswith("1\n"), said
    assert demo.read("before") == "before\n"
    assert demo.system.mounts().count(str(demo.mountpoint)) == 1


def test_hang_is_noticed_by_the_watchdog_and_heals(demo: Service) -> None:
    """P3: A daemon that answers nobody (SIGSTOP) is killed and started anew; readers get an errno."""
    demo.share("hanging", "hanging\n")
    demo.stop()
    demo.drop_in("quick", HANGING)
    demo.start()
    former = demo.pid()
    demo.system.run("kill", "-STOP", str(former))
    assert demo.system.code("ls", demo.mountpoint, seconds=START_SECONDS) not in (0, 124, 137)
    demo.wait_restarted(former)
    assert demo.read("hanging") == "hanging\n"
    said = demo.system.said(demo.unit)
    assert "Watchdog timeout" in said
    assert "most recent call first" in said
    demo.system.run("rm", "-r", f"/etc/systemd/system/{demo.unit}.d")
    demo.system.run("systemctl", "daemon-reload")


def test_stop_unmounts_with_busy_files(demo: Service) -> None:
    """Programs with a file open, and with their directory in the mount, keep nobody from stopping it."""
    demo.share("busy", "busy\n")
    with demo.system.started(
        "sh", "-c", f"cd {demo.mountpoint}; exec 3<busy; echo open; read go; cat busy; echo $?"
    ) as user:
        assert user.stdin is not None
        assert user.stdout is not None
        assert user.stdout.readline() == "open\n"
        cursor = demo.system.journal("--lines=1")[-1]["__CURSOR"]
        demo.stop()
        assert not demo.is_mounted()
        assert demo.system.show(demo.unit, "Result") == "success"
        assert demo.complaints(cursor) == []
        assert user.communicate("go\n", timeout=20)[0].endswith("1\n")
    demo.start()
    assert demo.read("busy") == "busy\n"


def test_what_was_closed_before_the_stop_is_shared(demo: Service) -> None:
    """A file that was closed just before `systemctl stop` is sealed before the daemon ends."""
    copy = f"head -c 32M /dev/zero >{demo.mountpoint}/big && systemctl stop {demo.unit}"
    demo.system.run("sh", "-c", copy, seconds=START_SECONDS)
    assert demo.system.run("stat", "-c", "%s", f"{demo.store}/share/big").strip() == str(32 << 20)
    assert demo.system.show(demo.unit, "Result") == "success"


def test_unit_that_needs_the_mount_waits_for_it(demo: Service) -> None:
    """Requires= and After= of the service: the other starts it, and finds the files when it runs."""
    demo.share("needed", "needed\n")
    demo.stop()
    demo.system.write(
        "/etc/systemd/system/user.service",
        f"[Unit]\nRequires={demo.unit}\nAfter={demo.unit}\n"
        f"[Service]\nType=oneshot\nExecStart=cp {demo.mountpoint}/needed /run/copied\n",
    )
    demo.system.run("systemctl", "daemon-reload")
    demo.system.run("systemctl", "start", "user.service", seconds=START_SECONDS)
    assert demo.system.read("/run/copied") == "needed\n"


def test_control_socket_is_for_a_group(demo: Service) -> None:
    """`control.group`: its members may ask the daemon, others may not; the sandbox allows it."""
    for user, groups in (("member", "blobfs"), ("stranger", "")):
        demo.system.run("useradd", "--groups", groups, user)
    demo.configure('[control]\ngroup = "blobfs"\n')
    demo.stop()
    demo.start()
    assert str(demo.mountpoint) in demo.system.run("blobfs", "status", demo.mountpoint, user="member")
    assert demo.system.code("blobfs", "status", demo.mountpoint, user="stranger") == 1


def test_secret_comes_as_a_credential(demo: Service) -> None:
    """A token that only root can read: LoadCredential= hands it to the daemon and its share server."""
    demo.stop()
    demo.system.write("/etc/blobfs-token", "secret\n", 0o600)
    demo.drop_in("token", "[Service]\nLoadCredential=token:/etc/blobfs-token\n")
    demo.configure('token_file = "credential:token"\n')
    demo.start()
    ask = ("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"{demo.url}absent")
    assert demo.system.run(*ask) == "401"
    assert demo.system.run(*ask, "-H", "Authorization: Bearer secret") == "404"
    demo.stop()
    demo.drop_in("token", "")


def test_share_server_runs_beside_the_mount_and_without_it(demo: Service) -> None:
    """``blobfs-serve@NAME`` serves the same store by the same configuration, and never writes to it."""
    demo.share("served", "served\n")
    demo.stop()
    demo.system.run("systemctl", "start", "blobfs-serve@demo", seconds=START_SECONDS)
    assert demo.system.run("curl", "-s", f"{demo.url}served") == "served\n"
    mounts = demo.system.read(f"/proc/{demo.system.show('blobfs-serve@demo', 'MainPID')}/mountinfo")
    writable = [line.split(" ")[4] for line in mounts.splitlines() if line.split(" ")[5].startswith("rw")]
    assert [path for path in writable if path.startswith("/var/lib")] == []
    demo.system.run("systemctl", "reload", "blobfs-serve@demo")
    assert demo.system.run("curl", "-s", f"{demo.url}served") == "served\n"
    demo.system.run("systemctl", "stop", "blobfs-serve@demo", seconds=START_SECONDS)
    assert demo.system.show("blobfs-serve@demo", "Result") == "success"


def test_journal_has_no_complaint(demo: Service) -> None:
    """What is in order is no warning: start, reload and stop leave none of ours or of systemd's."""
    cursor = demo.system.journal("--lines=1")[-1]["__CURSOR"]
    demo.stop()
    demo.start()
    demo.system.run("systemctl", "reload", demo.unit)
    demo.stop()
    assert demo.complaints(cursor) == []
