# The session's side of a step: install the script as a unit, start it, watch it. Runs as root in bash; the step's
# secrets are on stdin. Given: host, step, minutes, digest (of the script), script, holds (whether a result still does).
unit=leasehold-$step.service
root=/var/lib/leasehold
file=$root/steps/$step-${digest:0:16}.sh
current=$root/steps/$step.key
result=$root/results/$step
error=$root/results/$step.error

fail() {
  printf '%s: step %s: %s\n' "$host" "$step" "$1" >&2
  exit 1
}

# write FILE: stdin to a file that is there wholly or not at all.
write() {
  cat >"$1.new"
  sync "$1.new"
  mv -f "$1.new" "$1"
}

for program in systemctl python3 flock sha256sum; do
  command -v "$program" >/dev/null || fail "$program is not there; the machine needs systemd, python3 and util-linux"
done
umask 077
mkdir -p "$root" "$root/steps" "$root/results" "$root/secrets"
chmod 755 "$root"
chmod 700 "$root/steps" "$root/results" "$root/secrets"

# Only builtins touch this variable: a program's arguments are public.
secrets=$(cat)
key=$(printf '%s\n' "$digest" "$(cat /etc/machine-id)" "$secrets" | sha256sum | cut -d ' ' -f 1)

finished() {
  local of=
  [ -f "$result" ] && read -r of <"$result" && [ "$of" = "$key" ]
}

print_result_and_exit() {
  tail -n +2 "$result"
  exit 0
}

state() { systemctl show -p ActiveState --value "$unit"; }

attached() {
  [ "$(cat "$current" 2>/dev/null)" = "$key" ] || return 1
  case $(state) in active | activating | deactivating) ;; *) return 1 ;; esac
}

write_secrets='
import json, os, pathlib, sys
folder, values = pathlib.Path(sys.argv[1]), json.loads(sys.stdin.read() or "{}")
folder.mkdir(mode=0o700, exist_ok=True)
for file in folder.iterdir():
    if file.name not in values:
        file.unlink()
for name, value in values.items():
    temporary = folder / f".{name}"
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
        stream.write(value)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(folder / name)
'

install_and_start() {
  systemctl stop "$unit" 2>/dev/null || true
  rm -f "$error" "$root/steps/$step"-*.sh
  printf %s "$secrets" | python3 -c "$write_secrets" "$root/secrets/$step" || fail "its secrets on stdin are no JSON object"
  printf %s "$script" | write "$file"
  chmod 700 "$file"
  # Type=exec, not oneshot: a oneshot would hold up the boot of a machine that was rebooted in the middle.
  write "/etc/systemd/system/$unit" <<UNIT
[Unit]
Description=leasehold: $step
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=${minutes}min
StartLimitBurst=4

[Service]
Type=exec
ExecStart=/bin/bash $file $key
SyslogIdentifier=leasehold
Restart=on-failure
RestartPreventExitStatus=65
RestartSec=5
RuntimeMaxSec=${minutes}min
TimeoutStopSec=20

[Install]
WantedBy=multi-user.target
UNIT
  chmod 644 "/etc/systemd/system/$unit"
  printf '%s\n' "$key" | write "$current"
  systemctl daemon-reload
  systemctl enable -q "$unit"
  systemctl reset-failed "$unit" 2>/dev/null || true
  systemctl start "$unit" || fail "the unit does not start; see: journalctl -u $unit"
}

cause() {
  if [ -s "$error" ]; then
    cat "$error"
  else
    printf 'it ended without a word (%s)' "$(systemctl show -p Result --value "$unit")"
  fi
}

exec 9>"$root/steps/.lock"
flock -w 120 9 || fail "another session has been starting a step for 2 minutes; run this again"
if finished; then
  holds && print_result_and_exit
  rm -f "$result" # undone elsewhere: the step runs again
fi
attached || install_and_start
exec 9>&-

deadline=$((SECONDS + minutes * 60))
turn=0
while ! finished; do
  if ((++turn % 4 == 0)); then
    [ "$(cat "$current")" = "$key" ] || fail "a newer command replaced this one; nothing is left to do here"
    case $(state) in
      failed | inactive)
        finished && break
        fail "$(cause); on $host: journalctl -u $unit"
        ;;
    esac
    ((SECONDS < deadline)) ||
      fail "not done after $minutes minutes; it goes on there, and this command attaches to it; on $host: journalctl -fu $unit"
  fi
  sleep 0.3
done
print_result_and_exit
