#!/usr/bin/env bash
# What must be on the machine, in one place, and its installation where it is missing.
#
#   tests/peers.sh build   a C compiler and cmake (for libopus) beside the Rust toolchain
#   tests/peers.sh test    other people's software that the tests talk to
set -euo pipefail
cd "$(dirname "$0")/.."

# command that must be there : Debian package that brings it
build_tools=(cc:gcc make:make cmake:cmake)
test_peers=(sipp:sip-tester baresip:baresip-core chromium:chromium dnsmasq:dnsmasq-base kamailio:kamailio openssl:openssl c++:g++)

# Python packages: tests/interop/requirements.txt, into .venv
venv=.venv
requirements=tests/interop/requirements.txt

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@" 2>/dev/null || sudo "$@"; fi
}

install_missing() {
    local missing=()
    for entry in "$@"; do
        command -v "${entry%%:*}" >/dev/null || missing+=("${entry#*:}")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    echo "installing: ${missing[*]}"
    if ! command -v apt-get >/dev/null; then
        echo "there is no apt-get here; install these with your own tools: ${missing[*]}" >&2
        exit 1
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

need_cargo() {
    command -v cargo >/dev/null && return 0
    echo "there is no Rust toolchain here; https://rustup.rs installs one, rust-toolchain.toml says which" >&2
    exit 1
}

python_packages() {
    if ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
        install_missing no-such-command:python3-venv
    fi
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
    if [ ! -e "$venv/.installed" ] || [ "$requirements" -nt "$venv/.installed" ]; then
        echo "installing: $requirements into $venv"
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements"
        touch "$venv/.installed"
    fi
}

for group in "$@"; do
    case $group in
    build)
        need_cargo
        install_missing "${build_tools[@]}"
        ;;
    test)
        install_missing "${test_peers[@]}"
        python_packages
        ;;
    *)
        echo "there is no group '$group'; there are build and test" >&2
        exit 2
        ;;
    esac
done
