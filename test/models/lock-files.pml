// SPDX-License-Identifier: MIT

/*
 * The protocol of lib/lock-files as a model, which spin searches in all its states. README.md beside it says how.
 *
 * A process of the model, `Line`, is a line of the code: the claims on one key in one process. A step is one system call, or
 * one turn of the event loop. The comment above a step names the file and the functions that it stands for. Between two steps
 * of a line, the others can take any number of steps. So a process that is slow, or stopped by SIGSTOP, needs no step of its
 * own: it does not move. A process can be killed before each step.
 *
 * Three properties are checked:
 *
 * 1. HOLDERS: a key is granted only when nobody holds it.
 * 2. TENURE: a link is made, replaced or removed only when nobody has a tenure of its key.
 * 3. No waiter is forgotten: no run ends while a claim waits (spin: "invalid end state"), and none goes on forever without
 *    granting a key ("non-progress cycle").
 */

/* Bounds. check.sh sets them. */
#ifndef PROCESSES
#define PROCESSES 3
#endif
#ifndef KEYS
#define KEYS 1
#endif
/* How often each line fetches the link, and how often all together. Grants of a link that lingers are not counted. */
#ifndef FETCHES
#define FETCHES 2
#endif
#ifndef ALL_FETCHES
#define ALL_FETCHES (LINES * FETCHES)
#endif
#ifndef KILLS
#define KILLS 2
#endif
/* How often an unlink fails, so that a live process leaves a link of which it does not know the token. */
#ifndef FAULTS
#define FAULTS 0
#endif
/* How often somebody removes a guard by hand. */
#ifndef GUARDS_REMOVED
#define GUARDS_REMOVED 0
#endif
/* How long a chain of guards is followed: a guard, the guard that replaces it, and so on. */
#ifndef LEVELS
#define LEVELS 7
#endif

#define LINES (PROCESSES * KEYS)
#define NONE 0

/* The directory. Tokens are numbers from 1; a guard is named after the token that it replaces. */
byte link[KEYS];
byte guard[LINES * FETCHES + 1];

/* What the lines know: the process p has the line of the key k at k * PROCESSES + p. */
byte token[LINES];
bool holds[LINES];
bool tenure[LINES];
/* The line that a line waits in, plus 1. What one line reads here of another is the socket that connects them. */
byte waitsIn[LINES];
/* The tokens that a line has read: in the link, in the guard of that token, in the guard of the guard's token. */
byte seen[LINES * LEVELS];

/* Tokens that a line has made, and how many of them were made by processes that are dead now. */
byte made[LINES];
byte dead[LINES];
byte fetches, kills, faults, removed;
#if KEYS > 1
bool killed[LINES];
#endif
hidden byte at;

#define processOf(line) ((line) % PROCESSES)
#define keyOf(line) ((line) / PROCESSES)
#define MAKER(t) (((t) - 1) / FETCHES)
#define IS_DEAD(t) (((t) - 1) % FETCHES < dead[MAKER(t)])
#define LINK link[keyOf(me)]
#define SEEN(n) seen[me * LEVELS + (n)]
/* The token to be replaced, and whether the file that had it, the link or a guard, has the given one. */
#define OLD SEEN(level)
#define FILE_HAS(t) ((level == 0 && LINK == (t)) || (level > 0 && guard[SEEN(level - 1)] == (t)))
/* Claims give up and timers fire only before the last fetch: then those that wait must be served without that. */
#define IS_LIVELY (fetches < ALL_FETCHES)

#ifdef TOKEN_AFTER_LINK
bool knows[LINES];
#define IS_KNOWN(t) (token[MAKER(t)] == (t) && knows[MAKER(t)])
#else
#define IS_KNOWN(t) (token[MAKER(t)] == (t))
#endif

#define IS_MINE(visitor) (waitsIn[visitor] == me + 1)
#if LINES == 2
#define IS_VISITED (IS_MINE(0) || IS_MINE(1))
#elif LINES == 3
#define IS_VISITED (IS_MINE(0) || IS_MINE(1) || IS_MINE(2))
#elif LINES == 4
#define IS_VISITED (IS_MINE(0) || IS_MINE(1) || IS_MINE(2) || IS_MINE(3))
#else
#define IS_VISITED (IS_MINE(0) || IS_MINE(1) || IS_MINE(2) || IS_MINE(3) || IS_MINE(4) || IS_MINE(5))
#endif

#ifdef ONLY_TENURE
#define ASSERT_NO_HOLDER(line) skip
#else
#define ASSERT_NO_HOLDER(line) assert(!holds[line])
#endif
#ifdef ONLY_HOLDERS
#define ASSERT_NO_TENURE(line) skip
#define ASSERT_OUR_LINK skip
#else
#define ASSERT_NO_TENURE(line) assert(!tenure[line])
#define ASSERT_OUR_LINK assert(LINK == token[me])
#endif

inline assertNoHolder() {
  for (at : keyOf(me) * PROCESSES .. keyOf(me) * PROCESSES + PROCESSES - 1) { ASSERT_NO_HOLDER(at) }
}

inline assertNoTenure() {
  for (at : keyOf(me) * PROCESSES .. keyOf(me) * PROCESSES + PROCESSES - 1) { ASSERT_NO_TENURE(at) }
}

inline forgetSeen() {
  for (at : 0 .. LEVELS - 1) { SEEN(at) = NONE }
  level = 0;
  ok = false
}

inline forgetToken() {
  token[me] = NONE;
  forgetSeen()
}

/* lock-file.ts #obtain, line.ts #grant: the link is ours. A tenure begins, and the claim has the lock. */
inline grant() {
  assertNoHolder();
  assertNoTenure();
  ASSERT_OUR_LINK;
  holds[me] = true;
  tenure[me] = true;
  forgetSeen()
}

/* line.ts #giveTurn, visit.ts giveTurn: it hangs up. That it waits for the visitor, up to a second, keeps the order only. */
inline giveTurn(line) {
  waitsIn[line] = NONE
}

/* SIGKILL: all lines of the process end, its connections are closed, and its socket refuses. Another process starts. */
inline kill() {
  kills++;
  for (at : 0 .. LINES - 1) {
    if
    :: waitsIn[at] != NONE && processOf(waitsIn[at] - 1) == processOf(me) -> waitsIn[at] = NONE
    :: else
    fi
  }
  for (at : 0 .. LINES - 1) {
    if
    :: processOf(at) == processOf(me) ->
#if KEYS > 1
      killed[at] = killed[at] || (at != me && token[at] != NONE);
#endif
      holds[at] = false; tenure[at] = false; token[at] = NONE; waitsIn[at] = NONE; dead[at] = made[at]
    :: else
    fi
  }
  forgetSeen()
}

/* As all processes are alike, it is enough that the first is killed first. A line without a token has nothing to lose. */
#define OR_KILL :: kills < KILLS && processOf(me) <= kills -> d_step { kill() }; goto serve
#if KEYS > 1
#define UNLESS_KILLED if :: killed[me] -> d_step { killed[me] = false; forgetSeen() }; goto serve :: else fi;
#else
#define UNLESS_KILLED
#endif

proctype Line(byte me) {
  byte level;
  bool ok;

  /*
   * line.ts #serve, line.ts #advance: the next in line is a claim of this process, or a visitor. Claims come when they are
   * served, as nobody sees them before, and visitors have their turn in any order.
   * lock-file.ts #obtain, lock-link.ts makeToken: the token comes before the link.
   */
  serve:
  end_serve: atomic {
    if
    :: made[me] < FETCHES && IS_LIVELY ->
      fetches++; made[me]++; token[me] = me * FETCHES + made[me]; goto create
    :: IS_MINE(0) -> giveTurn(0); goto serve
    :: IS_MINE(1) -> giveTurn(1); goto serve
#if LINES > 2
    :: IS_MINE(2) -> giveTurn(2); goto serve
#endif
#if LINES > 3
    :: IS_MINE(3) -> giveTurn(3); goto serve
#endif
#if LINES > 4
    :: IS_MINE(4) -> giveTurn(4); goto serve
    :: IS_MINE(5) -> giveTurn(5); goto serve
#endif
    fi
  };

  /*
   * lock-file.ts #fetch, lock-file.ts #take, lock-file.ts #create, lock-link.ts createLink: symlink, and if that fails,
   * readlink. It is one step for both: a symlink that fails changes nothing, so it could as well have come later.
   */
  create: atomic {
    UNLESS_KILLED
    if
#ifdef TOKEN_AFTER_LINK
    :: LINK == NONE -> LINK = token[me]; goto know
#else
    :: LINK == NONE -> d_step { LINK = token[me]; grant() }; goto held
#endif
    :: LINK == token[me] -> d_step { grant() }; goto held
    :: LINK != NONE && LINK != token[me] -> SEEN(0) = LINK
    OR_KILL
    fi
  };

  /*
   * visit.ts visit, presence.ts isDead: the maker of the token is dead, or takes us into its line, or does not know the token.
   * At the other end lock-files.ts #receive, line.ts receive, visit.ts turnAway. If its link lingers, the tenure ends in
   * that turn of the event loop (lock-file.ts giveUp), and so it does for its other keys (lingering.ts pause, line.ts letGo).
   * lock-file.ts #take, visit.ts ask, visit.ts sendAway: a claim that only asks may end here, or later as one that gives up.
   */
  visit: atomic {
    UNLESS_KILLED
    if
#ifdef REMOVE_IN_PLACE_OF_REPLACE
    :: level == 0 && IS_DEAD(OLD) -> goto removeDead
    :: level > 0 && IS_DEAD(OLD)
#elif defined(REMOVE_GUARD_OF_DEAD)
    :: level == 0 && IS_DEAD(OLD)
    :: level > 0 && IS_DEAD(OLD) -> goto removeDead
#elif defined(KEEP_GUARD_OF_DEAD)
    :: level == 0 && IS_DEAD(OLD)
    :: level > 0 && IS_DEAD(OLD) -> d_step { forgetSeen() }; goto create
#else
    :: IS_DEAD(OLD)
#endif
    :: !IS_DEAD(OLD) && IS_KNOWN(OLD) ->
      d_step {
        waitsIn[me] = MAKER(OLD) + 1;
#if !defined(TENURE_AFTER_UNLINK) && !defined(LINGER_ON_AFTER_VISIT)
        for (at : 0 .. LINES - 1) {
          if
          :: processOf(at) == processOf(MAKER(OLD)) && !holds[at] -> tenure[at] = false
          :: else
          fi
        };
#endif
        forgetSeen()
      };
      goto waiting
    :: !IS_DEAD(OLD) && !IS_KNOWN(OLD)
#ifdef STOPPED_IS_DEAD
    :: !IS_DEAD(OLD) && IS_KNOWN(OLD)
#endif
    :: !IS_DEAD(OLD) && IS_LIVELY -> d_step { forgetToken() }; goto serve
    OR_KILL
    fi
  };

  /*
   * lock-file.ts #replace, lock-link.ts replaceLink, lock-link.ts guardOf: the guard is created. If there is one, its maker
   * is visited, too. If that one is dead, its guard is replaced in the same way, one level up.
   */
  make: atomic {
    UNLESS_KILLED
    if
#ifdef NO_GUARD
    :: goto check
#else
    :: guard[OLD] == NONE -> guard[OLD] = token[me]
    :: guard[OLD] == token[me]
    :: guard[OLD] != NONE && guard[OLD] != token[me] ->
      assert(level + 1 < LEVELS);
      SEEN(level + 1) = guard[OLD]; level++;
      goto visit
#endif
    OR_KILL
    fi
  };

  /* lock-link.ts replaceLink, lock-link.ts readLink: whether the dead token is still there. */
  check: atomic {
    UNLESS_KILLED
    if
    :: FILE_HAS(OLD)
    :: !FILE_HAS(OLD) -> goto clear
    OR_KILL
    fi
  };

  /* lock-link.ts replaceLink: rename of the guard. */
  atomic {
    UNLESS_KILLED
    if
#ifdef NO_GUARD
    :: d_step { assertNoTenure(); LINK = token[me] }
#else
    :: guard[OLD] != NONE ->
      d_step {
        if
        :: level == 0 -> assertNoTenure(); LINK = guard[OLD]
        :: else -> guard[SEEN(level - 1)] = guard[OLD]
        fi;
        guard[OLD] = NONE
      }
    :: guard[OLD] == NONE
#endif
    OR_KILL
    fi
  };

  /* lock-link.ts replaceLink, lock-link.ts readLink: whether it was our guard that was renamed. */
  atomic {
    UNLESS_KILLED
    if
#ifdef NO_READ_BACK
    :: ok = true
#else
    :: ok = FILE_HAS(token[me])
#endif
    OR_KILL
    fi
  };

  /* lock-link.ts replaceLink, lock-link.ts removeFile: the guard goes. The work continues one level down, or starts over. */
  clear: atomic {
    UNLESS_KILLED
    if
    ::
#ifndef NO_GUARD
      guard[OLD] = NONE;
#endif
      if
      :: ok && level == 0 -> d_step { grant() }; goto held
      :: ok && level > 0 -> ok = false; SEEN(level) = NONE; level--; goto check
      :: !ok -> d_step { forgetSeen() }; goto create
      :: !ok && IS_LIVELY -> d_step { forgetToken() }; goto serve
      fi
    OR_KILL
    fi
  };

  /* visit.ts visit: it ends when the other hangs up or dies. line.ts leave: or when the claim gives up. */
  waiting: atomic {
    if
    :: waitsIn[me] == NONE -> goto create
    :: waitsIn[me] != NONE && IS_LIVELY -> waitsIn[me] = NONE; token[me] = NONE; goto serve
    OR_KILL
    fi
  };

  /*
   * line.ts release, line.ts #linger, lingering.ts add: if nobody waits, the link may linger. Otherwise, or while nothing
   * lingers, lock-file.ts giveUp: the tenure ends before anything else.
   */
  held:
  progress_held: atomic {
    UNLESS_KILLED
    if
#ifdef TENURE_AFTER_UNLINK
    :: holds[me] = false; goto remove
#else
    :: holds[me] = false; tenure[me] = false; goto remove
#endif
    :: !IS_VISITED -> holds[me] = false
    OR_KILL
    fi
  };

  /*
   * line.ts join, line.ts #start, lock-file.ts isOurs, line.ts #grant: a claim of this process is granted without a call.
   * lingering.ts #endPeriod, line.ts letGo: the link has lingered for a second; or a visit has ended the tenure.
   */
  end_linger: atomic {
    if
    :: tenure[me] && IS_LIVELY -> holds[me] = true; goto held
    :: tenure[me] && IS_LIVELY -> tenure[me] = false
    :: !tenure[me]
#ifdef TENURE_AFTER_UNLINK
    :: IS_VISITED
#endif
    OR_KILL
    fi
  };

  /* lock-file.ts giveUp, lock-link.ts removeFile, lock-file.ts forget: the link is removed, and then the token forgotten. */
  remove:
#ifdef UNLINK_AFTER_TURN
  token[me] = NONE;
  atomic {
    if
    :: IS_MINE(0) -> giveTurn(0)
    :: IS_MINE(1) -> giveTurn(1)
    :: IS_MINE(2) -> giveTurn(2)
    :: !IS_VISITED
    fi
  };
#endif
#ifdef TOKEN_BEFORE_UNLINK
  token[me] = NONE;
#endif
#ifdef GRANT_WHILE_UNLINKING
  if
  :: holds[me] = true
  :: skip
  fi;
#endif
  atomic {
    UNLESS_KILLED
    if
    :: d_step { assertNoTenure(); LINK = NONE; tenure[me] = false; token[me] = NONE }
#if FAULTS > 0
    :: faults < FAULTS -> faults++; token[me] = NONE
#endif
    OR_KILL
    fi
  };
#ifdef GRANT_WHILE_UNLINKING
  holds[me] = false;
#endif
  goto serve;

  /* The rest is for mutants only. */
#ifdef TOKEN_AFTER_LINK
  know: atomic {
    if
    :: d_step { knows[me] = true; grant() }; goto held
    OR_KILL
    fi
  };
#endif
#if defined(REMOVE_IN_PLACE_OF_REPLACE) || defined(REMOVE_GUARD_OF_DEAD)
  removeDead: atomic {
    if
    :: level == 0 -> d_step { assertNoTenure(); LINK = NONE; forgetSeen() }; goto create
    :: level > 0 -> guard[SEEN(level - 1)] = NONE; SEEN(level) = NONE; level--; goto make
    OR_KILL
    fi
  }
#endif
}

/*
 * leftovers.ts removeLeftovers, once, in a process that opens the directory: it removes guards whose token is in no file. The
 * locks of the dead it takes as any claim does.
 */
proctype Leftovers() {
  byte old;
  bool isGuarded;

  do
  :: d_step {
      old < LINES * FETCHES;
      old++;
      isGuarded = guard[old] == NONE;
#ifndef REMOVE_ALL_GUARDS
      for (at : 0 .. KEYS - 1) { isGuarded = isGuarded || link[at] == old }
      for (at : 1 .. LINES * FETCHES) { isGuarded = isGuarded || guard[at] == old }
#endif
    };
    if
    :: isGuarded
    :: !isGuarded -> guard[old] = NONE
    fi
  :: old == LINES * FETCHES -> break
  od
}

/* Somebody who removes guards by hand. */
proctype Hand() {
  byte old;

  end_hand: atomic {
    removed < GUARDS_REMOVED -> removed++;
    select(old : 1 .. LINES * FETCHES);
    guard[old] = NONE; old = NONE
  };
  goto end_hand
}

init {
  byte i;
  atomic {
    for (i : 0 .. LINES - 1) { run Line(i) }
#ifdef LEFTOVERS
    run Leftovers();
#endif
#if GUARDS_REMOVED > 0
    run Hand()
#endif
  }
}
