#!/usr/bin/env bash
# Two PostgreSQL on this machine, one the synchronous replica of the other, and what is to be done when
# the primary is lost. Elsewhere the same steps are those of Patroni, of a managed database, or yours.
#
#   failover.sh pair FOLDER      makes and starts both; prints the URL for ZART_DATABASE_URL
#   failover.sh promote FOLDER   the primary is lost: makes the replica the primary
#   failover.sh rejoin FOLDER    makes the one that does not write the replica of the one that does:
#                                removes what it has first, and only while the other one writes
#   failover.sh stop FOLDER      stops both
#
# Where promote or rejoin was interrupted: the same again, or what it says that is to be done.
#
# PGBIN: the folder of PostgreSQL's programs. AS: what runs them as another user, since they do not
# run as root: AS='runuser -u postgres --'. PORT_A, PORT_B: where they listen, on 127.0.0.1.
# SYNC=--no-sync: faster, for data that may be lost with the machine.
set -euo pipefail

command=${1:?pair, promote, rejoin or stop} folder=${2:?a folder}
bin=${PGBIN:-$(pg_config --bindir)}
port_a=${PORT_A:-54321} port_b=${PORT_B:-54322}
read -ra as <<<"${AS:-}"
read -ra sync <<<"${SYNC:-}"

refuse() { echo "$0: $1" >&2; exit 1; }
run() { (cd / && "${as[@]}" "$@"); } # nobody may not be where root is
as_superuser() { PGPASSWORD=$(<"$folder/password") PGCONNECT_TIMEOUT=10 "$bin/psql" -qAtX \
  -v ON_ERROR_STOP=1 -h 127.0.0.1 -U postgres -p "$1" -d "${3:-postgres}" -c "$2"; }
start() { run "$bin/pg_ctl" -s -w -t 60 -D "$folder/$1" -l "$folder/$1.log" \
  -o "-p $2 -c listen_addresses=127.0.0.1 -c unix_socket_directories=" start; }
is_running() { run "$bin/pg_ctl" -s -D "$folder/$1" status &>/dev/null; }
stop() { if is_running "$1"; then run "$bin/pg_ctl" -s -w -t 60 -m "$2" -D "$folder/$1" stop; fi; }

other() { if [ "$1" = a ]; then echo b; else echo a; fi; }
port() { if [ "$1" = a ]; then echo "$port_a"; else echo "$port_b"; fi; }

# role NAME: what it says of itself, writes or follows; nothing where it does not run or answer, or
# follows nobody. Files do not tell: what is gone has no standby.signal either, nor what is half copied.
# The port that the one in this folder has must be ours, else somebody else would answer.
role() {
  [ "$(run sed -n 4p "$folder/$1/postmaster.pid" 2>/dev/null)" = "$(port "$1")" ] || return 0
  as_superuser "$(port "$1")" "SELECT CASE WHEN NOT pg_is_in_recovery() THEN 'writes'
    WHEN current_setting('primary_conninfo') <> '' THEN 'follows' END" 2>/dev/null || :
}

# who ROLE: which of the two has it: a, b, both, or nothing.
who() {
  case $(role a)-$(role b) in
    "$1-$1") echo both ;;
    "$1"-*) echo a ;;
    *-"$1") echo b ;;
  esac
}

# replica NAME OF: makes NAME a replica of OF, and has OF answer a commit only once NAME has it, too.
replica() {
  run rm -rf "${folder:?}/$1"
  run "$bin/pg_basebackup" -D "$folder/$1" -X stream -c fast -R "${sync[@]}" \
    -d "host=127.0.0.1 port=$(port "$2") user=postgres passfile=$folder/pgpass application_name=$1"
  start "$1" "$(port "$1")"
  as_superuser "$(port "$2")" "ALTER SYSTEM SET synchronous_standby_names = '$1'"
  as_superuser "$(port "$2")" "SELECT pg_reload_conf()" >/dev/null
}

case $command in
  pair)
    for name in a b; do
      if run test -e "$folder/$name"; then refuse "$folder/$name is there already; nothing was made"; fi
    done
    umask 077
    run mkdir -p "$folder"
    password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
    run sh -c "printf %s $password >'$folder/password'
      printf '127.0.0.1:*:*:postgres:%s\n' $password >'$folder/pgpass'"
    run "$bin/initdb" -D "$folder/a" -U postgres --pwfile="$folder/password" --encoding=UTF8 \
      --no-locale --auth=scram-sha-256 "${sync[@]}" >/dev/null
    start a "$port_a"
    as_superuser "$port_a" "CREATE ROLE zart LOGIN PASSWORD '$password'"
    as_superuser "$port_a" "CREATE DATABASE zart OWNER zart"
    replica b a
    hosts="127.0.0.1:$port_a,127.0.0.1:$port_b"
    echo "postgresql://zart:$password@$hosts/zart?target_session_attrs=read-write"
    ;;
  promote)
    new=$(who follows)
    case $new in
      a | b) lost=$(other "$new") ;;
      both) refuse "both are replicas: stop the one that was the primary; nothing was changed" ;;
      *) refuse "no replica runs; nothing was changed. Where one of the two writes: $0 rejoin $folder" ;;
    esac
    # It must never write again, whoever starts it: else two of them take starts and give out leases.
    stop "$lost" immediate
    run mkdir -p "$folder/$lost" # the folder may be what was lost
    run touch "$folder/$lost/standby.signal"
    # The other one has no replica of its own yet, and would wait for one with every commit.
    as_superuser "$(port "$new")" "ALTER SYSTEM SET synchronous_standby_names = ''"
    as_superuser "$(port "$new")" "SELECT pg_reload_conf()" >/dev/null
    # All that was answered OK is there, for each commit has waited for it. This is the last step: as
    # long as it is not done, all of it can be done again.
    promoted=$(as_superuser "$(port "$new")" "SELECT pg_promote(true, 60)")
    [ "$promoted" = t ] || refuse "$new does not write yet: see $folder/$new.log, and promote again"
    echo "$new writes, on port $(port "$new"); now: $0 rejoin $folder"
    ;;
  rejoin)
    # What the other one has is removed: it may be all there is, unless this one runs and writes.
    writing=$(who writes)
    case $writing in
      a | b) following=$(other "$writing") ;;
      both) refuse "both write: stop the one that must not; nothing was removed" ;;
      *) refuse "neither runs and writes: start the primary, or promote; nothing was removed" ;;
    esac
    stop "$following" fast
    replica "$following" "$writing"
    ;;
  stop)
    stop a fast
    stop b fast
    ;;
  *)
    echo "unknown: $command" >&2
    exit 2
    ;;
esac
