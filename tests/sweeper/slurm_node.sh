#!/usr/bin/env bash
# A Slurm of one node on loopback, for tests and for trying out; to be run as root.
#
#   tests/sweeper/slurm_node.sh start DIRECTORY   # afterwards: export SLURM_CONF=DIRECTORY/slurm.conf
#   tests/sweeper/slurm_node.sh stop DIRECTORY
#
# From Debian: apt-get install --no-install-recommends slurm-wlm munge
# The directory takes the configuration, the state, the logs and the process ids.
set -euo pipefail
# shellcheck source=tests/sweeper/free_port.sh
source "$(dirname "$0")/free_port.sh"

complain() {
  echo "slurm_node.sh: $1" >&2
  exit 2
}

[ $# = 2 ] || complain "expected start or stop, and a directory"
[ "$(id -u)" = 0 ] || complain "needs root: slurmd starts jobs as their users"
for program in slurmctld slurmd munged sinfo; do
  command -v "$program" >/dev/null ||
    complain "$program is missing; apt-get install --no-install-recommends slurm-wlm munge"
done
mkdir -p "$2"
folder=$(cd "$2" && pwd)
export SLURM_CONF=$folder/slurm.conf

configure() {
  mkdir -p "$folder"/{state,spool,log}
  # munged refuses directories that others can write to.
  install -d -o munge -g munge -m 755 "$folder/munge"
  cat >"$SLURM_CONF" <<CONF
ClusterName=loopback
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmUser=root
SlurmctldPort=$(free_port)
SlurmdPort=$(free_port)
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
CredType=cred/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,batch_sched_delay=0,sched_min_interval=0
MpiDefault=none
ReturnToService=2
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.log
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
}

start() {
  configure
  if [ ! -f "$folder/munge/key" ]; then
    (umask 077 && head -c 128 /dev/urandom >"$folder/munge/key")
    chown munge: "$folder/munge/key"
  fi
  # As its own user: munged does not run as root unless it is forced to.
  setpriv --reuid=munge --regid=munge --clear-groups munged --socket="$folder/munge/socket" \
    --key-file="$folder/munge/key" --pid-file="$folder/munge/munged.pid" \
    --log-file="$folder/munge/munged.log" --seed-file="$folder/munge/seed"
  slurmctld
  slurmd
  for _ in $(seq 60); do
    [ "$(sinfo -h -o %t 2>/dev/null)" = idle ] && return
    sleep 0.5
  done
  tail -n 5 "$folder"/log/*.log >&2
  stop
  complain "the node did not become idle within 30 s"
}

stop() {
  # A stopped controller would leave the jobs to themselves.
  scancel --user="$(id -un)" 2>/dev/null || true
  for name in slurmd slurmctld munge/munged; do
    [ -f "$folder/$name.pid" ] || continue
    pid=$(cat "$folder/$name.pid")
    kill "$pid" 2>/dev/null || true
    for _ in $(seq 40); do
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.25
    done
  done
}

case $1 in
  start) start ;;
  stop) stop ;;
  *) complain "expected start or stop, not $1" ;;
esac
