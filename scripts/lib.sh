# Sourced by the other scripts: the checkout, messages, and changes of user.
# As root, a script only installs packages; the user hermes-test, created here, does the rest.
# shellcheck shell=bash
: <&0 2>/dev/null || exec </dev/null # a closed stdin would hand descriptor 0 to the next file opened
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
HERMES_FIXTURES=$(realpath -m "${HERMES_FIXTURES:-$ROOT/target/fixtures}")
TEST_USER=hermes-test

say() { printf '%s: %s\n' "${0##*/}" "$*"; }
timed() { local start=$SECONDS; "${@:2}" || return; say "$1: $((SECONDS - start)) s"; } # NAME COMMAND...
die() { printf '%s: error: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# Records that this machine cannot run a test, for the list at the end of scripts/test. It is an error if HERMES_TEST_REQUIRE contains
# WHAT: a list separated by commas, or "all", which means everything except what HERMES_TEST_WITHOUT lists.
skip() { # WHAT REASON TEST
  if [[ ,${HERMES_TEST_REQUIRE:-}, = *",$1,"* || (${HERMES_TEST_REQUIRE:-} = all && ,${HERMES_TEST_WITHOUT:-}, != *",$1,"*) ]]; then
    die "$1 is required by HERMES_TEST_REQUIRE: $2"
  fi
  say "skipped: $3: no $1: $2"
  [ -z "${HERMES_TEST_SKIPS:-}" ] || printf '%s\t%s\t%s\n' "$1" "$2" "$3" >>"$HERMES_TEST_SKIPS"
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo -- "$@"
  else die "this needs root: $* -- run it as root, then run this script again"; fi
}

# Copies the checkout for the test user, keeping modification times so that cargo rebuilds nothing needlessly.
copy_checkout() { # DESTINATION COMMAND-TO-BECOME-THE-USER...
  local to=$1 list; list=$(mktemp)
  shift
  cd "$ROOT" || exit
  { git -c safe.directory='*' ls-files -z -co --exclude-standard -x /target 2>/dev/null ||
    find . -not -type d -not -path './target/*' -not -path './.git/*' -printf '%P\0'; } |
    while IFS= read -r -d '' f; do if [ -e "$f" ] || [ -L "$f" ]; then printf '%s\0' "$f"; fi; done | sort -z >"$list"
  (cd "$to" && find . -not -type d -not -path './target/*' -printf '%P\0') | sort -z |
    comm -z -23 - "$list" | (cd "$to" && "$@" xargs -0r rm -f --)
  tar -c --null -T "$list" | "$@" tar -xp -C "$to"
  rm -f "$list"
}

make_test_user() { id "$TEST_USER" >/dev/null 2>&1 || useradd --create-home --shell /bin/bash "$TEST_USER"; }

# Runs the calling script as the test user, in a copy of the checkout, since the user may be unable to read the original.
# With NEEDS_RUST, a Rust toolchain below /root, which other users cannot enter, is bind-mounted for this run alone.
as_test_user() { # the script's own arguments
  make_test_user
  grep -q "^$TEST_USER:" /etc/subuid || usermod --add-subuids 165536-231071 --add-subgids 165536-231071 "$TEST_USER"
  local home copy rust become lend=()
  home=$(getent passwd "$TEST_USER" | cut -d: -f6)
  copy=$home/${ROOT##*/}-$(cksum <<<"$ROOT" | cut -d' ' -f1) # one for each checkout
  become=(setpriv --reuid="$TEST_USER" --regid="$TEST_USER" --init-groups)
  [ "$HERMES_FIXTURES" != "$ROOT/target/fixtures" ] || HERMES_FIXTURES=$copy/target/fixtures
  [ -d "$HERMES_FIXTURES" ] || install -d -o "$TEST_USER" -m 755 "$HERMES_FIXTURES"
  install -d -o "$TEST_USER" "$copy" "$copy/target"
  copy_checkout "$copy" "${become[@]}"
  if [ -n "${NEEDS_RUST:-}" ]; then
    rust=$(cd "$ROOT" && rustc --print sysroot) || die "no rustc; run: scripts/deps --rust"
    if ! "${become[@]}" test -x "$rust/bin/cargo"; then
      install -d -o "$TEST_USER" "$home/rust"
      if unshare --mount true 2>/dev/null; then lend=(unshare --mount sh -c 'mount --bind "$0" "$1" && shift && exec "$@"' "$rust" "$home/rust")
      else cp -a "$rust/." "$home/rust/"; fi
      rust=$home/rust
    fi
    PATH=$rust/bin:$PATH
  fi
  cd "$copy" || exit
  "${lend[@]}" "${become[@]}" env -u XDG_RUNTIME_DIR -u XDG_CONFIG_HOME -u XDG_DATA_HOME -u XDG_CACHE_HOME -u XDG_STATE_HOME \
    -u CARGO_HOME -u RUSTUP_HOME -u CARGO_TARGET_DIR -u TMPDIR HOME="$home" USER="$TEST_USER" LOGNAME="$TEST_USER" \
    PATH="$PATH" HERMES_FIXTURES="$HERMES_FIXTURES" "scripts/${0##*/}" "$@"
}

# As root: runs the calling script as the test user, then exits. As another user: does nothing.
drop_root() { # the script's own arguments
  [ "$(id -u)" = 0 ] || return 0
  local status=0
  as_test_user "$@" || status=$?
  exit $status
}

# Builds target/bin/hermes as users get it: statically linked with musl, so that it runs on every Linux of this architecture and starts
# faster. Without Rust's standard library for musl (scripts/deps --rust installs it), the program is linked with this system's C library.
build_program() {
  local target; target=$(uname -m)-unknown-linux-musl
  cd "$ROOT" || exit
  mkdir -p target/bin
  if [ -d "$(rustc --print sysroot)/lib/rustlib/$target" ] && command -v musl-gcc >/dev/null; then
    cargo build --locked --release --target "$target" || return
    ln -sfn "../$target/release/hermes" target/bin/hermes
  else
    say "no Rust standard library for $target: the program will need this system's C library, and start more slowly"
    cargo build --locked --release || return
    ln -sfn ../release/hermes target/bin/hermes
  fi
}
