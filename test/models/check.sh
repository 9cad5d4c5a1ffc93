#!/usr/bin/env bash
# Searches lock-files.pml in all its states, and shows that each of its mutants fails. What it checks: README.md beside it.
# Installs Debian's spin and gcc if they are missing; needs root then. It takes less than a minute on two cores.
set -euo pipefail
cd "$(dirname "$0")"
model=$PWD/lock-files.pml

if ! command -v spin >/dev/null || ! command -v gcc >/dev/null; then
  apt-get update
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends spin gcc libc6-dev
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
failures=0
optimize=-O2

# search safety|cycles FLAG...: searches for errors, or for cycles without progress. What was found is in the file `found`.
search() {
  local what=$1; shift
  rm -f pan pan.* ./*.trail found
  spin "$@" -a "$model" >found 2>&1 || return 0
  case $what in
    safety) gcc -w "$optimize" -DCOLLAPSE -DSAFETY -DMEMLIM=2048 -o pan pan.c && ./pan -m10000 -w22 >found 2>&1 || true ;;
    cycles) gcc -w "$optimize" -DCOLLAPSE -DNP -DMEMLIM=2048 -o pan pan.c && ./pan -l -m10000 -w22 >found 2>&1 || true ;;
  esac
}

# What the search has found, in words.
verdict() {
  if grep -q '^pan:1: assertion violated *!(holds' found; then echo 'two holders of a key'
  elif grep -q '^pan:1: assertion violated *\(!(tenure\|(link\)' found; then echo 'a tenure that outlives its link'
  elif grep -q '^pan:1: invalid end state' found; then echo 'a claim that waits forever'
  elif grep -q '^pan:1: non-progress cycle' found; then echo 'claims that never get further'
  elif grep -q 'errors: 0' found && ! grep -q 'not completed\|too small' found; then echo 'no error'
  else echo 'no result'
  fi
}

# report NAME EXPECTED: a line on the last search.
report() {
  local name=$1 expected=$2 result states seconds megabytes outcome=ok
  result=$(verdict)
  states=$(sed -nE 's/^ *([0-9.e+]+) states, stored.*/\1/p' found)
  seconds=$(sed -nE 's/^pan: elapsed time ([0-9.e+-]+) seconds.*/\1/p' found)
  megabytes=$(sed -nE 's/^ *([0-9.]+).*total actual memory usage.*/\1/p' found)
  if [ "$result" != "$expected" ]; then
    outcome='NOT OK'
    failures=$((failures + 1))
    sed 's/^/    /' found
  fi
  printf '%-6s %s: %s (%s states, %s s, %s MB)\n' "$outcome" "$name" "$result" "${states:-?}" "${seconds:-?}" "${megabytes:-?}"
}

# holds NAME safety|cycles FLAG...
holds() {
  local name=$1 what=$2; shift 2
  search "$what" "$@"
  report "$name" 'no error'
}

# mutant NAME EXPECTED FLAG...
mutant() {
  local name=$1 expected=$2 what=safety; shift 2
  [ "$expected" = 'claims that never get further' ] && what=cycles
  search "$what" "-D$name" "$@"
  report "mutant $name" "$expected"
}

holds 'three processes, a key, 6 fetches, 2 kills, an unlink that fails' safety -DFAULTS=1
holds 'three processes, a key, 5 fetches, 2 kills, an unlink that fails: cycles' cycles -DFAULTS=1 -DALL_FETCHES=5
holds 'three processes, two keys, 4 fetches, 2 kills' safety -DKEYS=2 -DALL_FETCHES=4
holds 'three processes, a key, 5 fetches, a kill, leftovers cleared up' safety -DLEFTOVERS -DALL_FETCHES=5 -DKILLS=1
holds 'two processes, a key, 4 fetches, 2 kills, a guard removed by hand' safety -DPROCESSES=2 -DGUARDS_REMOVED=1

# Mutants fail soon, so to compile them fast saves more.
optimize=-O0

# The order of things when a lock is given up.
mutant UNLINK_AFTER_TURN 'two holders of a key' -DONLY_HOLDERS
mutant TOKEN_BEFORE_UNLINK 'two holders of a key' -DONLY_HOLDERS
mutant TENURE_AFTER_UNLINK 'a tenure that outlives its link'
mutant GRANT_WHILE_UNLINKING 'two holders of a key' -DONLY_HOLDERS
mutant LINGER_ON_AFTER_VISIT 'a claim that waits forever'

# The order of things when a lock is taken.
mutant TOKEN_AFTER_LINK 'two holders of a key' -DONLY_HOLDERS
mutant STOPPED_IS_DEAD 'two holders of a key' -DONLY_HOLDERS

# How the link of a dead process is replaced.
mutant NO_GUARD 'two holders of a key' -DONLY_HOLDERS
mutant REMOVE_IN_PLACE_OF_REPLACE 'two holders of a key' -DONLY_HOLDERS
mutant REMOVE_GUARD_OF_DEAD 'two holders of a key' -DONLY_HOLDERS
mutant KEEP_GUARD_OF_DEAD 'claims that never get further'
mutant NO_READ_BACK 'two holders of a key' -DONLY_HOLDERS -DPROCESSES=2 -DGUARDS_REMOVED=1
mutant REMOVE_ALL_GUARDS 'two holders of a key' -DONLY_HOLDERS -DLEFTOVERS -DKILLS=1 -DALL_FETCHES=5

if [ "$failures" -gt 0 ]; then
  echo "The model of the lock protocol: $failures of these are not as expected"
  exit 1
fi
echo 'The model of the lock protocol holds, and each mutant fails'
