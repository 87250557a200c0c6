# Beginning of every step that runs on a machine as a unit; given: host, step and the step's own variables.
set -Eeuo pipefail
umask 077
key=$1
root=/var/lib/leasehold
secrets=$root/secrets/$step
result=$root/results/$step
error=$root/results/$step.error
# One at a time runs; what a killed one left may hold secrets.
work=$root/secrets/.$step.work
rm -rf "$work"
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/texts" "$work/programs"

log() { printf '%s\n' "$*"; }

# An effect, said once, after it happened.
did() { printf 'done: %s: %s\n' "$step" "$*"; }

note_error() {
  printf '%s\n' "$*" >&2
  printf '%s' "$*" >"$error.new"
  mv -f "$error.new" "$error"
}

# What no repetition heals: the unit is not started again.
stop() {
  note_error "$*"
  exit 65
}

# What another try may heal: the unit is started again, a few times.
retry_later() {
  note_error "$*"
  exit 1
}

on_error() { note_error "line $2 of the script ended with status $1: ${3%%$'\n'*}"; }
trap 'on_error $? "$LINENO" "$BASH_COMMAND"' ERR

# within SECONDS COMMAND...: until the command succeeds; fails after that many seconds.
within() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < deadline)) || return 1
    sleep 1
  done
}

carried() { cat >"$work/$1"; }

secret() { cat "$secrets/$1" 2>/dev/null || true; }

# put SOURCE TARGET [MODE]: install a file wholly or not at all; says 0 when it differed.
put() {
  local mode=${3:-644}
  cmp -s "$1" "$2" && [ "$(stat -c %a "$2")" = "$mode" ] && return 1
  [ -d "${2%/*}" ] || folder 755 "${2%/*}"
  install -m "$mode" "$1" "$2.leasehold"
  mv -f "$2.leasehold" "$2"
}

# folder MODE PATH...: its parents are everybody's to pass, whatever the umask.
folder() {
  local path
  for path in "${@:2}"; do
    (umask 022 && mkdir -p "$path")
    chmod "$1" "$path"
  done
}

sha256_of() { sha256sum "$1" | cut -d ' ' -f 1; }

# fetch PATH URL SHA256 TARGET: nothing but what was pinned gets the name TARGET.
fetch() {
  local path=$1 url=$2 sha256=$3 target=$4 partial=$4.partial found try
  [ -f "$target" ] && [ "$(sha256_of "$target")" = "$sha256" ] && return
  [ -d "${target%/*}" ] || folder 755 "${target%/*}"
  for try in 1 2; do
    download "$url" "$partial"
    found=$(sha256_of "$partial")
    if [ "$found" = "$sha256" ]; then
      mv -f "$partial" "$target"
      did "fetched $path"
      return
    fi
    rm -f "$partial"
    # The beginning may have been another file's, from before a cut: once more from nothing.
    [ "$resumed" ] || break
  done
  stop "$path: checksum is $found, expected $sha256: refused; nothing was executed"
}

download() {
  local url=$1 partial=$2 try words=
  resumed=
  for try in 1 2 3 4 5; do
    [ ! -s "$partial" ] || resumed=1
    if words=$(curl -fsSL --proto '=http,https' --connect-timeout 15 --speed-limit 1000 --speed-time 60 \
      -C - -o "$partial" "$url" 2>&1); then
      return
    fi
    # 22 and 33: the server knows no such file, or no ranges; 36: what is there is no beginning of it.
    case $words in *"(22)"* | *"(33)"* | *"(36)"*) rm -f "$partial" ;; esac
    sleep "$try"
  done
  retry_later "cannot fetch $url: ${words##*$'\n'}"
}

# finish [FILE]: the step is done; the file holds what it tells, and may be secret.
finish() {
  { printf '%s\n' "$key" && cat "${1:-/dev/null}"; } >"$result.new"
  sync "$result.new"
  mv -f "$result.new" "$result"
  rm -f "$error"
  systemctl disable -q "leasehold-$step.service"
  exit 0
}

if [ -f "$result" ] && [ "$(head -n 1 "$result")" = "$key" ]; then
  systemctl disable -q "leasehold-$step.service"
  exit 0
fi
rm -f "$error"
