#!/bin/sh
# Sets up and runs the tests. Usage: sh tests/run.sh [--full | --release]
#
#   (default)   gcc and clang builds with warnings as errors, every suite, golden files at lower instruction sets too, the
#               address and undefined-behaviour sanitizers, the kernels and whole trainings on 64-bit Arm under qemu
#   --full      the above, the public interface at lower instruction sets, the longest programs with the sanitizers, the
#               thread sanitizer, valgrind, every case of the kernels on Arm
#   --release   the above, full-size trainings at every instruction set, longer fuzzing
#
# What is missing is installed with apt-get when run as root; otherwise the one line to run is printed.
set -eu

cd "$(dirname "$0")/.."
level=ci
case "${1:-}" in
'') ;;
--full) level=full ;;
--release) level=release ;;
*)
    sed -n '2,11s/^# \{0,1\}//p' tests/run.sh
    [ "$1" = --help ] || exit 2
    exit 0
    ;;
esac

# ---- Set-up ----

packages='gcc g++ clang meson ninja-build pkg-config binutils python3 libcmocka-dev libstb-dev libpng-dev zlib1g-dev libtiff-dev libsimde-dev'
[ "$level" = ci ] || packages="$packages valgrind"
machine=$(uname -m)
[ "$machine" != x86_64 ] || packages="$packages gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user"

missing=
for package in $packages; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
if [ -n "$missing" ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "Installing:$missing"
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing; } \
            >/tmp/unetstar-apt.$$ 2>&1 || {
            cat /tmp/unetstar-apt.$$
            exit 1
        }
        rm -f /tmp/unetstar-apt.$$
    else
        echo "These packages are missing. Install them and run this again:"
        echo "    sudo apt-get install$missing"
        exit 1
    fi
fi

# ---- Runs ----

passed=0
failed=0
skipped=0
broken=

# Adds the totals of a meson test log.
count() {
    for word in Ok Fail Skipped Timeout 'Unexpected Pass' 'Expected Fail'; do
        n=$(sed -n "s/^$word: *\([0-9]*\).*/\1/p" "$1" | tail -n 1)
        n=${n:-0}
        case $word in
        Ok | 'Expected Fail') passed=$((passed + n)) ;;
        Skipped) skipped=$((skipped + n)) ;;
        *) failed=$((failed + n)) ;;
        esac
    done
}

# configure NAME [meson options]: once. A failure counts as one failed test.
configure() {
    name=$1
    shift
    echo
    echo "== $name: build =="
    if [ ! -f "build/$name/build.ninja" ]; then
        rm -rf "build/$name"
        meson setup "build/$name" --werror "$@" >"build/$name.setup.log" 2>&1 || {
            tail -n 30 "build/$name.setup.log"
            failed=$((failed + 1))
            broken="$broken $name"
            return 1
        }
    fi
}

# build NAME [meson options]: configures, and builds everything.
build() {
    configure "$@" || return 1
    ninja -C "build/$name" >"build/$name.build.log" 2>&1 || {
        grep -E -A 5 'error|FAILED' "build/$name.build.log" | head -n 60
        failed=$((failed + 1))
        broken="$broken $name"
        return 1
    }
}

# check NAME LABEL [meson test arguments], of what has been built. check_building also builds what these tests need, and no more.
check() {
    check_building "$@" --no-rebuild
}
check_building() {
    name=$1
    label=$2
    shift 2
    echo "== $name: $label =="
    log="build/$name.$(echo "$label" | tr ' /+' '___').log"
    if meson test -C "build/$name" --print-errorlogs "$@" >"$log" 2>&1; then
        sed -n 's/^ *[0-9]*\/[0-9]* \(.*\)$/  \1/p' "$log"
    else
        cat "$log"
        broken="$broken $name/$label"
        grep -q '^Ok: ' "$log" || failed=$((failed + 1)) # it was not built
    fi
    count "$log"
}

mkdir -p build
start=$(date +%s)

if build gcc; then
    check gcc 'all suites'
    lower='--suite golden'
    whole= # of long lists of cases every fourth
    [ "$level" = ci ] || { lower='--suite golden --suite api' whole=_whole; }
    check gcc 'reference with fma' --setup "reference_fma$whole" $lower
    grep -q -w avx512f /proc/cpuinfo 2>/dev/null && check gcc 'avx2' --setup "avx2$whole" $lower
fi
if CC=clang build clang; then
    check clang 'kernels, units, golden files, headers' --setup part --suite kern --suite unit --suite golden --suite headers
fi
if build minimal -Dtraining=false -Dfiles=false -Dthreads=false -Dexamples=disabled; then
    peer=$PWD/build/gcc/tests/minimal/inference # the whole library must find the same bits
    if [ -x "$peer" ]; then
        check minimal 'bits of the whole library' minimal-bits --test-args "--peer '$peer'"
    else
        check minimal 'bits' minimal-bits
    fi
    check minimal 'size, imports, what is left out' minimal-size minimal-absent headers-imports headers-exports headers-archive headers-isa
    sed -n 's/^\(stripped: .*\)/  \1/p' build/minimal/meson-logs/testlog.txt | head -n 1
fi
if CC=gcc configure sanitize -Disa=avx2 --buildtype=debugoptimized -Db_sanitize=address,undefined -Db_lundef=false; then
    long=--no-suite=long
    [ "$level" = ci ] || long=
    check_building sanitize 'address and undefined behaviour' --setup part --suite unit --suite golden --suite api --suite fuzz \
        --suite programs $long --timeout-multiplier 4
fi
if [ "$machine" != x86_64 ]; then
    echo
    echo "== aarch64: skipped, the cross build is for x86_64 and this machine is $machine =="
    skipped=$((skipped + 1))
elif build aarch64 --cross-file tests/cross/aarch64.ini -Dexamples=disabled; then
    peer=$PWD/build/gcc/tests/bits/training_bits # the same training must leave the same bits on both
    [ ! -x "$peer" ] || export UNETSTAR_TEST_PEER="$peer"
    check aarch64 'kernels, and trainings against x86, under qemu' --suite kern --suite bits
    unset UNETSTAR_TEST_PEER
fi

if [ "$level" != ci ]; then
    if [ "$machine" = x86_64 ] && [ -f build/aarch64/build.ninja ]; then
        check aarch64 'every case of the kernels' --suite kern --test-args '--part 1' --timeout-multiplier 4
    fi
    if CC=clang build thread -Disa=avx2 --buildtype=debugoptimized -Db_sanitize=thread -Db_lundef=false -Dexamples=disabled; then
        check thread 'thread sanitizer' --suite api --timeout-multiplier 10
    fi
    if build valgrind --buildtype=debugoptimized -Disa=avx2 -Dexamples=disabled; then
        check valgrind 'valgrind' --suite unit --wrap 'valgrind --error-exitcode=9 --leak-check=full -q' --timeout-multiplier 30
    fi
fi
if [ "$level" = release ]; then
    check gcc 'full-size trainings' --suite bits --test-args=--release --timeout-multiplier 6
    echo "== gcc: long fuzzing =="
    if build/gcc/tests/fuzz/fuzz_safetensors --rounds 20000000; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        broken="$broken gcc/fuzzing"
    fi
fi

echo
echo "Time: $(($(date +%s) - start)) s. Logs: build/*.log."
[ -z "$broken" ] || echo "Not passed:$broken"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
