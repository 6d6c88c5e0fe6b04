#!/usr/bin/env bash
# A PostgreSQL server on loopback with one empty database, for tests and for trying out.
#
#   tests/sweeper/postgresql_server.sh start DIRECTORY   # writes its URL to DIRECTORY/url
#   tests/sweeper/postgresql_server.sh stop DIRECTORY
#
# From Debian: apt-get install postgresql. As root it runs as the user postgres, who must be able
# to enter the directory. The port is PGPORT, or a free one, which the directory keeps.
set -euo pipefail
# shellcheck source=tests/sweeper/free_port.sh
source "$(dirname "$0")/free_port.sh"

complain() {
  echo "postgresql_server.sh: $1" >&2
  exit 2
}

[ $# = 2 ] || complain "expected start or stop, and a directory"
programs=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1) || true
[ -n "$programs" ] || complain "PostgreSQL is missing; apt-get install postgresql"
mkdir -p "$2"
folder=$(cd "$2" && pwd)

# Its programs refuse to work as root.
run() {
  if [ "$(id -u)" = 0 ]; then
    (cd / && setpriv --reuid=postgres --regid=postgres --init-groups "$@")
  else
    "$@"
  fi
}

start() {
  if [ ! -d "$folder/data" ]; then
    (umask 077 && head -c 18 /dev/urandom | base64 | tr '+/' 'ab' >"$folder/password")
    if [ "$(id -u)" = 0 ]; then chown postgres: "$folder" "$folder/password"; fi
    run "$programs/initdb" -D "$folder/data" -U cvae -A scram-sha-256 \
      --pwfile="$folder/password" >/dev/null
  fi
  # The same one at every start: its URL is known.
  [ -f "$folder/port" ] || echo "${PGPORT:-$(free_port)}" >"$folder/port"
  port=$(cat "$folder/port")
  # No socket in the file system, and no other address than loopback.
  run "$programs/pg_ctl" -D "$folder/data" -l "$folder/server.log" -w -t 60 \
    -o "-c listen_addresses=127.0.0.1 -c port=$port -c unix_socket_directories=''" start >/dev/null ||
    complain "it did not start: $(tail -n 1 "$folder/server.log")"
  (umask 077 && echo "postgresql+psycopg2://cvae:$(cat "$folder/password")@127.0.0.1:$port/postgres" \
    >"$folder/url")
}

stop() {
  [ -f "$folder/data/postmaster.pid" ] || return 0
  run "$programs/pg_ctl" -D "$folder/data" -m fast -w stop >/dev/null
}

case $1 in
  start) start ;;
  stop) stop ;;
  *) complain "expected start or stop, not $1" ;;
esac
