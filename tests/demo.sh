#!/usr/bin/env bash
# make demo: the main job, once, for a person to watch. Leaves nothing behind.
set -euo pipefail

cd "$(dirname "$0")/.."
build=$(realpath "${BUILD:-build}")
work=$(mktemp -d "${TMPDIR:-/tmp}/uploadfs-demo-XXXXXX")
mnt=$work/openai
server_pid= daemon_pid=

cleanup() {
	status=$?
	trap - EXIT INT TERM
	if grep -qs " $mnt " /proc/self/mounts; then
		fusermount3 -u "$mnt" || fusermount3 -u -z "$mnt" || true
	fi
	if [ -n "$daemon_pid" ]; then
		wait "$daemon_pid" || status=1
	fi
	if [ -n "$server_pid" ]; then
		kill "$server_pid" 2>/dev/null || true
		wait "$server_pid" || status=1
	fi
	if [ "$status" != 0 ]; then
		for log in "$work"/*.log; do
			[ -e "$log" ] && echo "--- $log" && tail -n 20 "$log"
		done >&2
	fi
	rm -rf "$work"
	if [ "$status" = 0 ]; then
		echo "Unmounted, stopped, removed: nothing is left."
	else
		echo "The demo FAILED." >&2
	fi
	exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

bold= plain=
if [ -t 1 ]; then
	bold=$'\033[1m' plain=$'\033[0m'
fi

say() {
	printf '\n%s%s%s\n' "$bold" "$*" "$plain"
}

# show COMMAND...: prints it as a person would type it, and runs it
show() {
	printf '$ %s\n' "${*//$work\//}"
	"$@"
}

# wait_for SECONDS COMMAND...: until the command succeeds
wait_for() {
	tries=$(($1 * 20))
	shift
	until "$@"; do
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || { echo "not in time: $*" >&2; return 1; }
		sleep 0.05
	done
}

mounted() {
	kill -0 "$daemon_pid" && grep -qs " $mnt " /proc/self/mounts && [ -d "$mnt/fine-tune" ]
}

say "1. A local server that speaks the Uploads API (with a key: the real one, no server)"
export OPENAI_API_KEY=sk-demo-0123456789
printf '$ uploads-server --dir store &\n'
"$build/uploads-server" --dir "$work/store" --listen 127.0.0.1:0 \
	> "$work/server.log" 2>&1 &
server_pid=$!
wait_for 20 grep -q '^listening on ' "$work/server.log"
sed -n 's/^listening on //p' "$work/server.log"
OPENAI_BASE_URL=$(sed -n 's/^listening on //p' "$work/server.log")
export OPENAI_BASE_URL

say "2. The mount"
mkdir "$mnt"
printf '$ uploadfs openai\n'
"$build/uploadfs" -f "$mnt" -o "state_dir=$work/state" > "$work/daemon.log" 2>&1 &
daemon_pid=$!
wait_for 20 mounted
show ls "$mnt"

say "3. A training file of 150 MB"
awk 'BEGIN {
	for (i = 1; size < 150000000; i++) {
		line = sprintf("{\"messages\": [{\"role\": \"user\", \"content\": \"What is %d squared?\"}, " \
			"{\"role\": \"assistant\", \"content\": \"It is %.0f.\"}]}", i, i * i)
		size += length(line) + 1
		print line
	}
}' > "$work/train.jsonl"
ls -l "$work/train.jsonl" | awk '{ print $5 " bytes" }'
head -n 2 "$work/train.jsonl"

say "4. cp returns when the File exists"
show cp "$work/train.jsonl" "$mnt/fine-tune/"
file=$mnt/fine-tune/train.jsonl
attribute() {
	getfattr --absolute-names --only-values -n "user.upload.$1" "$file"
}
printf '$ getfattr -d openai/fine-tune/train.jsonl\n'
getfattr --absolute-names -d "$file" | sed 1d
printf 'File ID  %s\nMD5      %s\n' "$(attribute file_id)" "$(attribute md5)"
[ "$(attribute md5)" = "$(md5sum < "$work/train.jsonl" | cut -d ' ' -f 1)" ]

say "5. It reads back, the same"
show cmp "$work/train.jsonl" "$file"
echo "equal"

say "6. The end"
