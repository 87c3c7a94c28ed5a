# What the scripts share: sourced before anything else. Sets `here`, this folder, and `root`, the one above.
# shellcheck shell=bash disable=SC2034
if ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] < 404)); then
  echo "$0: this is bash $BASH_VERSION, and it needs 4.4 or newer (macOS: brew install bash)" >&2
  exit 1
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")

say() { echo "hack/${0##*/}: $*" >&2; }
die() { say "$@"; exit 1; }
need() { command -v "$1" >/dev/null || die "there is no $1 on the path: $2"; } # program, remedy
# The lines of a script's head that are indented.
usage() {
  sed -n '/^#   /s/^# \{3\}//p' "$here/${0##*/}" >&2
  exit 2
}
linux_only() { [ "$(uname)" = Linux ] || die "this runs on Linux only. $1"; } # what else there is
