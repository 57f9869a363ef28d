#!/usr/bin/env bash
# Starts the server on a queue of a million recipients and looks at all of it by each way there is: counts agree before
# and after `kill -9`, and the server answers meanwhile. Says how long each step took, and judges none by that.
#
# Arguments: the binary, and the program that fills a queue (cargo build --release -p spool --example fill). Needs
# python3, 2 GB of memory and 3 GB of disk.
set -euo pipefail

binary=$1
fill=$2
here=$(mktemp -d)
server=
finish() {
    [ -z "$server" ] || kill -KILL "$server" 2>/dev/null || true
    rm -rf "$here"
}
trap finish EXIT
fail() { echo "large queue: $*" >&2; cat "$here/log" >&2 || true; exit 1; }
sendoff() { "$binary" --config "$here/sendoff.toml" "$@"; }
# Runs a step and says how long it took.
step() {
    local name=$1 begin end
    shift
    begin=$(date +%s%N)
    "$@" || fail "$name"
    end=$(date +%s%N)
    echo "large queue: $name: $(((end - begin) / 1000000)) ms"
}

cat >"$here/sendoff.toml" <<TOML
hostname = "mail.example.com"
data_dir = "$here/data"
listener = []
[log]
file = "$here/log"
[[http]]
address = "unix:$here/http.sock"
[outgoing]
enabled = false
TOML
mkdir -m 711 "$here/data"
start() {
    # Not by the function: the process is to be known that is killed.
    "$binary" --config "$here/sendoff.toml" serve >>"$here/log" 2>&1 &
    server=$!
    for _ in $(seq 1200); do
        if sendoff health >/dev/null 2>&1; then return 0; fi
        kill -0 "$server" 2>/dev/null || return 1
        sleep 0.05
    done
    return 1
}
# Reads JSON on standard input; the argument is what must hold for it, in Python.
holds() { python3 -c 'import json, sys; a = json.load(sys.stdin); sys.exit(not eval(sys.argv[1], {"a": a, "sum": sum}))' "$1"; }
# All of it, by each way.
look() {
    summary() { sendoff queue summary --json >"$here/summary"; }
    step "queue summary" summary
    holds 'a["recipients"] == 1_000_000 and a["messages"] == 100_000' <"$here/summary" || fail "summary: $(cat "$here/summary")"
    page() { sendoff queue list >"$here/page"; }
    step "the first 1000 of queue list" page
    tail -n 1 "$here/page" | grep -q '^1000 of 1 000 000' || fail "list: $(tail -n 1 "$here/page")"
    count() { [ "$(sendoff queue list "$@" --count | tr -dc 0-9)" = "$wanted" ]; }
    wanted=1000000 step "queue list --count" count
    wanted=5000 step "queue list --count, of one user" count --filter user:user7
    metrics() { curl -sf --unix-socket "$here/http.sock" http://localhost/metrics >"$here/metrics"; }
    step "metrics" metrics
    grep -qx 'sendoff_queue_recipients 1000000' "$here/metrics" || fail "metrics: $(grep queue "$here/metrics")"
}
step "filling it" "$fill" "$here/data/spool" 100000 10
step "from the start to healthy" start
look
hold() { sendoff queue hold --all --yes >"$here/held"; }
step "queue hold --all" hold
wanted=1000000 step "queue list --count, of what is held" count --filter state:held
kill -KILL "$server"
wait "$server" 2>/dev/null || true
step "from the start to healthy, after kill -9" start
look
wanted=1000000 step "queue list --count, of what is held" count --filter state:held
kill -TERM "$server"
end() { wait "$server"; }
step "the end" end
server=
