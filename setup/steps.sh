# shellcheck shell=bash
# The steps that quickstart.sh and test.sh share. Source it from the project's root folder; it sets
# `set -euo pipefail`. Everything long goes to the file $LOG, whose end is shown when a step fails.

set -euo pipefail

LOG=build/setup.log
BUILD=build/release

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ] && [ "${TERM:-dumb}" != dumb ]; then
  BOLD=$'\033[1m' RESET=$'\033[0m'
else
  BOLD='' RESET=''
fi

heading() { printf '\n%s%s%s\n' "$BOLD" "$1" "$RESET"; }
say() { printf '  %s\n' "$1"; }
fail() {
  printf '\n%s\n' "$1" >&2
  exit 1
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    fail "Installing packages needs root: run this script as root, or install sudo."
  fi
}

# On a terminal, keeps one line up to date with the newest "[12/345] …" of the lines on stdin.
show_progress() {
  if [ ! -t 1 ]; then
    cat >/dev/null
    return
  fi
  local line
  while IFS= read -r line; do
    case $line in
      \[[0-9]*/[0-9]*\]*) printf '\r\033[K  %s' "${line%%]*}]" ;;
    esac
  done
  printf '\r\033[K'
}

# logged COMMAND…: runs it with its output in $LOG; on failure shows the end of the log and exits.
logged() {
  printf '\n+ %s\n' "$*" >>"$LOG"
  if "$@" 2>&1 </dev/null | tee -a "$LOG" | show_progress; then
    return 0
  fi
  printf '\nThis failed: %s\nThe end of %s:\n\n' "$*" "$LOG" >&2
  tail -n 40 "$LOG" >&2
  exit 1
}

check_processor() {
  if [ -r /proc/cpuinfo ] && ! grep -qw avx2 /proc/cpuinfo; then
    fail "Saffron's kernels need a processor with AVX2 and FMA (x86-64-v3, about 2013 and later)."
  fi
}

# Installs what is missing of setup/debian-packages.txt, and npm unless there is one.
install_packages() {
  heading "Packages"
  local wanted missing=() package
  wanted=$(sed 's/#.*//' setup/debian-packages.txt)
  command -v npm >/dev/null || wanted="$wanted npm"
  if ! command -v apt-get >/dev/null; then
    say "There is no apt-get here, so nothing is installed. The build needs what Debian calls:"
    say "$(echo "$wanted" | xargs)"
    return
  fi
  for package in $wanted; do
    if [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" != installed ]; then
      missing+=("$package")
    fi
  done
  if [ ${#missing[@]} -eq 0 ]; then
    say "all there"
    return
  fi
  say "installing ${#missing[@]}: ${missing[*]}"
  logged as_root apt-get -o Acquire::Retries=3 update
  logged as_root env DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=3 \
    -o DPkg::Lock::Timeout=120 install -y --no-install-recommends "${missing[@]}"
}

# build_targets TARGET…: configures the release preset and builds with all cores.
build_targets() {
  heading "Build"
  local started=$SECONDS
  logged cmake --preset release
  logged cmake --build --preset release --target "$@"
  say "$BUILD, $((SECONDS - started)) s"
}

# fetch_data DIRECTORY: the corpora of the sweeps, checked by digest; does nothing when they are there.
fetch_data() {
  heading "Data"
  logged "$BUILD/saffron" data fetch all --data "$1"
  say "$1"
}

mkdir -p build
: >"$LOG"
