# What the scripts in tools/ share: progress lines, the system's packages, the virtual environment.
# shellcheck shell=bash
#
# A script says `cd` to the checkout, sources this file and calls what it needs. Everything may be called
# again and again: what is there is left alone, and checking that it is there takes well under a second.

PATH=$PATH:/usr/sbin:/sbin # nginx and modprobe live there, and users often do not have it

python= # the interpreter the virtual environment is made from, set by find_python
step_number=0

step() { # step TEXT: a line that says what happens now
    step_number=$((step_number + 1))
    printf '[%d] %s\n' "$step_number" "$*"
}

die() { # die TEXT...: one line each on stderr, and the end
    printf '%s\n' "$@" >&2
    exit 1
}

tick() { # tick LABEL: says every few seconds that LABEL still runs, as long as this script does
    local seconds=0
    while sleep 5 >/dev/null 2>&1 && kill -0 "$$" 2>/dev/null; do
        seconds=$((seconds + 5))
        printf '    %s: %d s\n' "$1" "$seconds"
    done
}

run_logged() { # run_logged LABEL COMMAND...: runs quietly; if it fails, shows what it said, and ends
    local label=$1 log ticker status=0
    shift
    log=$(mktemp)
    tick "$label" &
    ticker=$!
    "$@" >"$log" 2>&1 </dev/null || status=$?
    kill "$ticker" 2>/dev/null || true
    wait "$ticker" 2>/dev/null || true
    if ((status)); then
        tail -n 40 "$log" >&2
        rm -f "$log"
        die "$label failed (exit $status): $*"
    fi
    rm -f "$log"
}

as_root() {
    if ((EUID == 0)); then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "This needs root, and there is no sudo: $*"
    fi
}

# --- the system -----------------------------------------------------------------------------------

has_headers() { "$python" -c 'import os, sysconfig as s; raise SystemExit(not os.path.exists(s.get_path("include") + "/Python.h"))'; }
has_fuse_headers() { command -v pkg-config >/dev/null && pkg-config --exists fuse3; }
has_libc_headers() { echo '#include <stdio.h>' | gcc -E - >/dev/null 2>&1; }

# Prints the Debian packages that bring what is missing. Asking for the thing itself, not for the
# package, keeps other distributions and other packages of the same thing working.
missing_packages() { # missing_packages runtime|dev|bench
    command -v fusermount3 >/dev/null || echo fuse3
    command -v pkg-config >/dev/null || echo pkg-config
    has_fuse_headers || echo libfuse3-dev
    command -v gcc >/dev/null || echo gcc
    has_libc_headers || echo libc6-dev
    if [[ -z $python ]]; then
        echo python3 python3-dev python3-venv
    else
        "$python" -c 'import ensurepip' 2>/dev/null || echo python3-venv
        has_headers || echo python3-dev
    fi
    [[ $1 != runtime ]] || return 0
    local pair
    for pair in nginx:nginx-light caddy:caddy curl:curl getfattr:attr sqlite3:sqlite3 rsync:rsync \
        bsdtar:libarchive-tools ps:procps shellcheck:shellcheck mkfs.ext4:e2fsprogs mkfs.xfs:xfsprogs losetup:mount \
        systemd-analyze:systemd ip:iproute2 promtool:prometheus chromium:chromium; do
        command -v "${pair%%:*}" >/dev/null || echo "${pair##*:}"
    done
    [[ $1 == bench ]] || return 0
    for pair in rclone:rclone httpdirfs:httpdirfs bindfs:bindfs sshfs:sshfs sshd:openssh-server \
        ssh-keygen:openssh-client aria2c:aria2; do
        command -v "${pair%%:*}" >/dev/null || echo "${pair##*:}"
    done
    ldconfig -p | grep -q 'libfuse\.so\.2 ' || echo libfuse2
}

find_python() { # sets $python; leaves it empty if there is none that fits
    local candidate
    for candidate in "${PYTHON:-}" /usr/bin/python3 python3 python3.13 python3.12 python3.11; do
        if [[ -n $candidate ]] && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            python=$(command -v "$candidate")
            return
        fi
    done
}

ensure_system_packages() { # ensure_system_packages runtime|dev|bench
    local missing
    find_python
    read -ra missing <<<"$(missing_packages "$1" | tr '\n' ' ')"
    if ((${#missing[@]} == 0)); then
        step "system packages: all here"
        return
    fi
    step "system packages: installing ${missing[*]}"
    command -v apt-get >/dev/null || die "Please install what this system calls: ${missing[*]}"
    run_logged "apt-get update" as_root apt-get update
    # RUNLEVEL=1 keeps packages from starting their services: only the program nginx is wanted.
    run_logged "apt-get install" as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get install --yes --no-install-recommends -o DPkg::Lock::Timeout=300 "${missing[@]}"
    find_python
    [[ -n $python ]] || die "blobfs needs Python 3.11 or later; name one with PYTHON=/path/to/python3"
    read -ra missing <<<"$(missing_packages "$1" | tr '\n' ' ')"
    ((${#missing[@]} == 0)) || die "Still missing after the installation: ${missing[*]}"
}

ensure_fuse() {
    [[ $(uname -s) == Linux ]] || die "blobfs runs on Linux: it needs its FUSE."
    [[ -e /dev/fuse ]] || (as_root modprobe fuse) 2>/dev/null || true
    [[ -e /dev/fuse ]] || die "There is no /dev/fuse: the kernel has no FUSE, or this container was not given it" \
        "(docker run --device /dev/fuse --cap-add SYS_ADMIN ...)."
}

# --- the virtual environment ----------------------------------------------------------------------

# The stamp is a hash of all that decides what the environment holds; it is written last.
venv_stamp() { { "$python" -VV && cat "requirements/build.lock" "requirements/$1.lock" pyproject.toml; } | sha256sum; }

is_installed() { # is_installed runtime|dev|bench; each includes those before it
    local lock locks=(runtime dev bench)
    [[ -x .venv/bin/blobfs ]] && .venv/bin/python -c '' 2>/dev/null || return 1
    while [[ ${locks[0]} != "$1" ]]; do locks=("${locks[@]:1}"); done
    for lock in "${locks[@]}"; do
        [[ $(venv_stamp "$lock") != "$(cat ".venv/$lock.stamp" 2>/dev/null)" ]] || return 0
    done
    return 1
}

ensure_venv() { # ensure_venv runtime|dev|bench: .venv holds the locked packages, and the command blobfs
    if is_installed "$1"; then
        step "Python packages: all here"
        return
    fi
    exec {checkout_lock}<.
    flock "$checkout_lock" # two scripts at once would install into each other
    step "Python packages: installing into .venv"
    if ! .venv/bin/python -c '' 2>/dev/null; then
        run_logged "virtual environment" "$python" -m venv --clear .venv
    fi
    # pyfuse3 comes as source. What builds it is pinned too, so no build environment fetched on the side.
    run_logged "build tools" pip_install --requirement requirements/build.lock
    run_logged "packages" pip_install --requirement "requirements/$1.lock"
    run_logged "blobfs" .venv/bin/python -m pip install --no-deps --no-build-isolation --editable .
    venv_stamp "$1" >".venv/$1.stamp"
    exec {checkout_lock}<&-
}

pip_install() { .venv/bin/python -m pip install --require-hashes --no-build-isolation "$@"; }
