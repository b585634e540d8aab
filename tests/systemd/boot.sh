#!/bin/sh
# Boots this machine's own systemd as pid 1 of namespaces of its own, over a copy-on-write view of /.
#
#   unshare --mount --propagation private sh boot.sh DIRECTORY CHECKOUT
#
# DIRECTORY/disk keeps what the system writes, so a second boot is a reboot; the checkout is /opt/checkout in
# there, read-only. DIRECTORY/pid holds the pid of systemd as the caller knows it. Returns when systemd has ended.
set -eu
here=$1 checkout=$2 stage=${3:-outside}
script=$(realpath "$0")

run_outside() { # in a mount namespace; all others are the caller's
    mkdir -p "$here/cgroup" "$here/root"
    mount -t cgroup2 none "$here/cgroup"
    group=$here/cgroup/blobfs-booted-$$
    mkdir "$group"
    # shellcheck disable=SC2016 # the inner shell expands these
    sh -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$group" \
        setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --cgroup --net --uts --ipc -- \
        sh "$script" "$here" "$checkout" inside || true
    find "$group" -depth -type d -exec rmdir {} + # all of its processes are gone
}

run_inside() { # as pid 1
    read -r pid _ </proc/self/stat # this /proc is still the caller's
    echo "$pid" >"$here/pid"
    new=$here/root
    mkdir -p "$here/disk/upper" "$here/disk/work"
    mount -t overlay overlay -o "lowerdir=/,upperdir=$here/disk/upper,workdir=$here/disk/work" "$new"
    mount_kernel
    make_devices
    [ -e "$here/disk/prepared" ] || prepare
    mkdir -p "$new/opt/checkout"
    mount --bind -o ro "$checkout" "$new/opt/checkout"
    hostname booted
    ip link set lo up
    cd "$new"
    mkdir run/outside
    pivot_root . run/outside
    umount --lazy run/outside
    mount --make-rshared / # as on every machine: mounts and unmounts reach the sandboxes of services
    exec env -i container=blobfs-test PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        /lib/systemd/systemd --system --show-status=no --log-target=journal
}

mount_kernel() {
    mount -t proc proc "$new/proc"
    mount -t sysfs sysfs "$new/sys"
    mount -t cgroup2 none "$new/sys/fs/cgroup"
    mount -t fusectl fusectl "$new/sys/fs/fuse/connections"
    mount -t tmpfs -o mode=755 tmpfs "$new/run"
    mount -t tmpfs -o mode=1777 tmpfs "$new/tmp"
    mount -t tmpfs -o mode=755 tmpfs "$new/dev"
    cp /proc/sys/kernel/random/uuid "$new/run/boot-id" # the kernel's stays: the journal would see one boot
    mount --bind "$new/run/boot-id" "$new/proc/sys/kernel/random/boot_id"
}

make_devices() {
    for device in null zero full random urandom tty autofs; do
        touch "$new/dev/$device"
        mount --bind "/dev/$device" "$new/dev/$device"
    done
    mknod -m 666 "$new/dev/fuse" c 10 229 # for everybody, as on every machine but some containers
    mkdir "$new/dev/pts" "$new/dev/shm"
    mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts "$new/dev/pts"
    mount -t tmpfs -o mode=1777 tmpfs "$new/dev/shm"
    ln -s pts/ptmx "$new/dev/ptmx"
    ln -s /proc/self/fd "$new/dev/fd"
    ln -s fd/0 "$new/dev/stdin"
    ln -s fd/1 "$new/dev/stdout"
    ln -s fd/2 "$new/dev/stderr"
}

prepare() { # once a disk: nothing runs in there but what a system needs
    units=$new/etc/systemd/system
    rm -rf "$units" "$new"/etc/rc?.d
    mkdir "$units"
    # What belongs to the machine as a whole: devices, the clock, kernel settings, the network, consoles.
    for unit in systemd-udevd.service systemd-udev-trigger.service systemd-udevd-control.socket \
        systemd-udevd-kernel.socket systemd-networkd.service systemd-timesyncd.service systemd-sysctl.service \
        systemd-modules-load.service systemd-binfmt.service systemd-logind.service systemd-random-seed.service \
        systemd-remount-fs.service systemd-pstore.service getty.target console-getty.service timers.target tmp.mount \
        proc-sys-fs-binfmt_misc.automount dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount \
        sys-kernel-tracing.mount sys-kernel-config.mount systemd-firstboot.service; do
        ln -s /dev/null "$units/$unit"
    done
    ln -s /lib/systemd/system/multi-user.target "$units/default.target"
    mkdir -p "$new/etc/systemd/journald.conf.d" "$new/var/log/journal"
    printf '[Journal]\nStorage=persistent\nRateLimitBurst=0\n' >"$new/etc/systemd/journald.conf.d/booted.conf"
    echo 0123456789abcdef0123456789abcdef >"$new/etc/machine-id" # without one it would be a first boot
    : >"$new/etc/fstab"
    : >"$here/disk/prepared"
}

"run_$stage"
