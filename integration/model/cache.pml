/* The sharing rules of the cache: leader, waiters, relief leader, sweep and logout.
 *
 * A fetcher is one run of ycred without a usable token. Each may be killed or stopped at any step, and a lock may be
 * lost once: a process then goes on without it. docs/sharing.md explains the rules in the same order.
 *
 * Options, for spin's -D:
 *   FETCHERS  number of fetchers (3); the last one is of a sharing group of its own and has another lock
 *   KILLS     how many fetchers may be killed
 *   STOPS     how many fetchers may stop for ever, in possession of their locks
 *   LOSSES    how many times a lock may be lost
 *   FAILING   the cloud rejects every request
 *   SWEEP, LOGOUT  a process of this kind runs too
 *   LARGE     the directory is so large that the sweep does not see the lock of the other sharing group
 *   BREAK_…   leaves one rule out, to show that the properties notice it
 */

#ifndef FETCHERS
#define FETCHERS 3
#endif
#ifndef KILLS
#define KILLS 0
#endif
#ifndef STOPS
#define STOPS 0
#endif
#ifndef LOSSES
#define LOSSES 0
#endif

#define GROUPS 2
#define LOCKS (2 * GROUPS)            /* for each sharing group its lock and its relief lock */
#define RELIEF(group) (GROUPS + group)
#define FILES 8                       /* lock files that are created in one run */
#define NOBODY 255

/* The record. An attempt that is 0 means that there is no record. */
byte attempt = 0;
byte expires = 0;                     /* of the token; 0 for none */
bool failed[GROUPS];                  /* attempts of this group have failed since the last token */
bool logged_out = false;

/* The lock files: the file that has each name (0 for none), and the process that holds each file. */
byte file_of[LOCKS];
byte holder[FILES];
byte files = 0;
byte directory_holder = NOBODY;

/* What the properties are about, and no process can see. */
byte requests[GROUPS];
byte issued = 0;                      /* tokens that the cloud has issued: each expires later than the one before */
byte attempts = 0;
byte logouts = 0;
bool is_logged_out = false;
byte hours = 0;                       /* how many times that was so */
bool is_old = false;                  /* an hour has passed since the last attempt, and the token has expired */
byte fetching = 0;                    /* leaders at work */
byte lockless = 0;                    /* fetchers that go on without a lock */
byte kills = 0, stops = 0, losses = 0;

/* Opens a lock file, or creates it. */
inline open_lock(name, file) {
    atomic {
        if
        :: file_of[name] == 0 -> files++; file_of[name] = files; holder[files] = NOBODY
        :: else
        fi;
        file = file_of[name]
    }
}

inline release(file) {
    if
    :: file != 0 && holder[file] == _pid -> holder[file] = NOBODY
    :: else
    fi;
    file = 0
}

/* Tries once to take a lock. `got` is true if this process holds it. */
inline try_lock(name, file, got) {
    got = false;
    open_lock(name, file);
    atomic {
        if
        :: holder[file] == NOBODY -> holder[file] = _pid; got = true
        :: else -> file = 0
        fi
    };
#ifndef BREAK_FILE_CHECK
    /* The file must still have its name, or a sweep has removed it in between. */
    atomic {
        if
        :: got && file_of[name] != file -> release(file); got = false
        :: else
        fi
    }
#endif
}

/* Stores the result of a fetch. `before` is the attempt that was read before it, and `hour` is when it began. */
inline store(before, group, token, guess, hour) {
#ifndef BREAK_DIRECTORY_LOCK
    atomic { directory_holder == NOBODY -> directory_holder = _pid };
#endif
    /* Reads the record, and decides. */
    atomic {
        may_store = true;
        if
        :: attempt != before ->
            if
#ifndef BREAK_LOGOUT
            :: logged_out -> may_store = false
#else
            :: false
#endif
#ifndef BREAK_LATE_LEADER
            :: !logged_out && token == 0 && expires != 0 -> may_store = false
            :: !logged_out && token == 0 && expires == 0 && failed[group] -> may_store = false
            :: !logged_out && token != 0 && expires >= token -> may_store = false
#endif
            :: else
            fi
        :: else
        fi
    };
#ifndef BREAK_OLD_ATTEMPT
    /* After an hour, a sweep may have removed the record of a logout. */
    atomic {
        if
        :: hours != hour -> may_store = false
        :: else
        fi
    };
#endif
    /* Replaces it, in a step of its own. */
    atomic {
        if
        :: may_store ->
            /* No stored token is replaced by one that expires earlier. */
            assert(is_old || token == 0 || token >= expires);
            /* Nor by a failure. */
            assert(is_old || token != 0 || expires == 0 || before == attempt);
            /* After a logout, only a fetch that began later brings a token back. */
            assert(token == 0 || guess == logouts || !is_logged_out);
            is_logged_out = is_logged_out && token == 0;
            attempts++;
            attempt = attempts;
            is_old = false;
            logged_out = false;
            if
            :: token != 0 -> expires = token; failed[0] = false; failed[1] = false
            :: else -> failed[group] = true
            fi
        :: else
        fi;
        if
        :: directory_holder == _pid -> directory_holder = NOBODY
        :: else
        fi
    }
}

proctype fetcher(byte group) {
    byte seen, file = 0, name, token, guess, hour;
    bool got, is_relief = false, is_over = false, may_store;

    /* A first look, without a lock. */
    atomic {
        seen = attempt;
        if
        :: expires != 0 && !is_old -> is_over = true
#ifndef BREAK_SHARED_FAILURE
        :: expires == 0 && failed[group] && !is_old -> is_over = true
#endif
        :: else
        fi
    };
    if
    :: is_over -> goto done
    :: else
    fi;
    do
    :: name = (is_relief -> RELIEF(group) : group);
       try_lock(name, file, got);
       /* With or without the lock, the record may be new. */
#ifndef BREAK_RELOAD
       atomic {
           if
           :: attempt != seen ->
              if
              :: logged_out -> is_over = true
              :: !logged_out && expires != 0 && !is_old -> is_over = true
#ifndef BREAK_SHARED_FAILURE
              /* The failure counts for this process only if it is of the same group. */
              :: !logged_out && expires == 0 && failed[group] -> is_over = true
#endif
              :: else -> seen = attempt
              fi
           :: else
           fi
       };
       if
       :: is_over -> release(file); goto done
       :: else
       fi;
#endif
       if
       :: got -> break
       :: !got && losses < LOSSES -> losses++; lockless++; break
       :: else ->
          /* The leader may be slow or stopped. After most of its time, a waiter makes the request itself. */
          if
          :: atomic {
                 !is_relief &&
                 (file_of[group] == 0 || holder[file_of[group]] == NOBODY || attempt != seen) ->
                 skip
             }
#ifndef BREAK_RELIEF
          :: atomic { !is_relief && stops > 0 -> is_relief = true }
          /* Nor does a relief leader wait for another one that has stopped: its time is over. */
          :: atomic {
                 is_relief && file_of[RELIEF(group)] != 0 && holder[file_of[RELIEF(group)]] != NOBODY && stops > 1 ->
                 goto done
             }
          :: atomic {
                 is_relief &&
                 (file_of[RELIEF(group)] == 0 || holder[file_of[RELIEF(group)]] == NOBODY || attempt != seen) ->
                 skip
             }
#endif
          fi
       fi
    od;

    /* This process is the leader. */
    atomic { seen = attempt; guess = logouts; hour = hours; fetching++ };
    if
    :: kills < KILLS -> atomic { kills++; release(file); fetching--; goto done }
    :: stops < STOPS -> stops++; goto end_stopped
    :: true
    fi;
    atomic {
        requests[group]++;
        /* Without trouble, each group of equal processes makes one request. */
        assert(KILLS + STOPS + LOSSES > 0 || logouts > 0 || requests[group] <= 1);
        /* A stopped leader costs one more, and so does a killed one, or a lost lock. */
        assert(logouts > 0 || requests[group] <= 1 + kills + stops + losses);
#ifdef FAILING
        token = 0
#else
        issued++;
        token = issued
#endif
    };
    if
    :: kills < KILLS -> atomic { kills++; release(file); fetching--; goto done }
    :: stops < STOPS ->
       atomic { stops++ };
       if
       :: goto end_stopped
       :: skip               /* and goes on, late */
       fi
    :: true
    fi;
    store(seen, group, token, guess, hour);
    atomic { release(file); fetching-- };
    goto done;
end_stopped:
    false;                   /* for ever, with its locks */
done:
    skip
}

#ifdef SWEEP
proctype sweeper() {
    byte taken[LOCKS], name, dead;
    bool got, is_idle = true;

    /* An hour passes, and the token expires. The model has no other clock. */
    atomic {
        attempt != 0 && lockless == 0 && (fetching == 0 || stops > 0) ->
        is_old = true; hours++; dead = attempt; requests[0] = 0; requests[1] = 0
    };
    name = 0;
#ifndef BREAK_SWEEP
    do
    :: name < LOCKS ->
       atomic {
           if
           :: file_of[name] == 0 -> taken[name] = 0
#ifdef LARGE
           :: name == 1 || name == RELIEF(1) -> taken[name] = 0
#endif
           :: file_of[name] != 0 && holder[file_of[name]] == NOBODY ->
              taken[name] = file_of[name]; holder[taken[name]] = _pid
           :: else -> is_idle = false
           fi
       };
       name++
    :: else -> break
    od;
#endif
    if
    :: is_idle ->
       /* A process that was not there before may have stored something in between. */
       atomic { directory_holder == NOBODY -> directory_holder = _pid };
       atomic {
           if
#ifndef BREAK_SWEEP_CHECK
           :: attempt == dead ->
#else
           :: true ->
#endif
              attempt = 0; expires = 0; failed[0] = false; failed[1] = false; logged_out = false
           :: else
           fi;
           directory_holder = NOBODY
       }
    :: else
    fi;
    name = 0;
    do
    :: name < LOCKS ->
       atomic {
#ifdef BREAK_SWEEP
           taken[name] = file_of[name];
#endif
           if
           :: is_idle && taken[name] != 0 && file_of[name] == taken[name] -> file_of[name] = 0
           :: else
           fi
       };
       name++
    :: else -> break
    od;
    name = 0;
    do
    :: name < LOCKS -> atomic { release(taken[name]); name++ }
    :: else -> break
    od
}
#endif

#ifdef LOGOUT
proctype logout() {
    atomic { directory_holder == NOBODY -> directory_holder = _pid };
    atomic {
        logouts++;
        is_logged_out = true;
        attempts++;
        attempt = attempts;
        expires = 0; failed[0] = false; failed[1] = false; logged_out = true;
        directory_holder = NOBODY
    }
}
#endif

init {
    byte number = 0;
    atomic {
        do
        :: number < FETCHERS - 1 -> run fetcher(0); number++
        :: else -> break
        od;
        run fetcher(1);
#ifdef SWEEP
        run sweeper();
#endif
#ifdef LOGOUT
        run logout()
#endif
    }
}
