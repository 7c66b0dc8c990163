/* The sharing rules of the cache: leader, waiters, relief leader, sweep and logout.
 *
 * A fetcher is one run of ycred without a usable token. Each may be killed or stopped at any step, and a lock may be
 * lost once: a process then goes on without it. docs/sharing.md explains the rules in the same order.
 *
 * Options, for spin's -D:
 *   FETCHERS  number of fetchers (3); the last one is of a sharing group of its own and has another lock
 *   ONE_GROUP leaves that one out
 *   KILLS     how many fetchers may be killed
 *   STOPS     how many fetchers may stop for ever, in possession of their locks
 *   LOSSES    how many times a lock may be lost
 *   FAILING   the cloud rejects every request
 *   SWEEP     a sweep runs too
 *   LOGOUT    a logout runs too: 1 of one profile, which leaves an empty record; 2 of all, which leaves none
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

#ifdef BREAK_MARK
#define BREAK_SECOND_LOOK
#endif

#define GROUPS 2
#define LOCKS (2 * GROUPS)            /* for each sharing group its lock and its relief lock */
#define RELIEF(group) (GROUPS + group)
#define FILES 8                       /* lock files that are created in one run */
#define PROCESSES 10
#define NOBODY 255

/* The record. An attempt that is 0 means that there is no record. */
byte attempt = 0;
byte expires = 0;                     /* of the token; 0 for none */
bool failed[GROUPS];                  /* attempts of this group have failed since the last token */
bool logged_out = false;
byte mark = 0;                        /* of the last logout; never removed */

/* The lock files: the file that has each name (0 for none), and the process that holds each file. */
byte file_of[LOCKS];
byte holder[FILES];
byte files = 0;
byte directory_holder = NOBODY;
byte relief[GROUPS];                  /* the process that the relief lock names */

/* What the properties are about, and no process can see. */
byte requests[GROUPS];
byte issued = 0;                      /* tokens that the cloud has issued: each expires later than the one before */
byte attempts = 0;
byte logouts = 0;
byte born = 0;                        /* how many logouts there had been when the fetch of the stored token began */
bool is_logging_out = false;
byte writers = 0;                     /* processes that have replaced the record, and will look at the mark again */
bool is_silent[PROCESSES];               /* stopped, for ever or for a while */
bool is_blocked = false;              /* a process has stopped while it was storing, so others store nothing */
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
        :: holder[file] == NOBODY ->
           holder[file] = _pid; got = true;
           /* A relief leader writes itself into the file, with the directory locked meanwhile. */
           if
           :: name >= GROUPS -> relief[name - GROUPS] = _pid
           :: else
           fi
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

/* A logout stays: the stored token is of a fetch that began after the last one. */
inline check_logout() {
    assert(expires == 0 || born == logouts || is_logging_out || writers > 0)
}

/* Stores the result of a fetch. `before` and `begun` are the attempt and the mark that were read before it, and `guess` is
 * the number of logouts then. `must_end` is true if the process has been killed or has stopped. */
inline store(before, begun, group, token, guess) {
    is_stored = false; must_end = false;
#ifndef BREAK_DIRECTORY_LOCK
    /* Stores nothing if the holder has stopped. */
    if
    :: atomic { directory_holder == NOBODY -> directory_holder = _pid; may_store = true }
#ifdef BREAK_BUSY
    :: atomic { directory_holder != NOBODY && is_blocked -> may_store = true }
#else
    :: atomic { directory_holder != NOBODY && is_blocked -> may_store = false }
#endif
    fi;
#else
    may_store = true;
#endif
    /* Reads the mark and the record, and decides. */
    atomic {
        if
#ifndef BREAK_MARK
        :: mark != begun -> may_store = false
#endif
        :: attempt != before ->
            if
            :: false
#ifndef BREAK_LATE_LEADER
            :: token == 0 && expires != 0 -> may_store = false
            :: token == 0 && expires == 0 && failed[group] -> may_store = false
            :: token != 0 && expires >= token -> may_store = false
#endif
            :: else
            fi
        :: else
        fi
    };
    if
    :: may_store && kills < KILLS -> kills++; must_end = true
    :: may_store && stops < STOPS ->
       atomic { stops++; is_silent[_pid] = true; is_blocked = true };
       if
       :: goto end_stopped
       :: skip               /* and goes on, late */
       fi
    :: true
    fi;
    /* Replaces it, in a step of its own. */
    atomic {
        if
        :: may_store && !must_end ->
            /* No stored token is replaced by one that expires earlier. */
            assert(is_old || token == 0 || token >= expires);
            /* Nor by a failure. */
            assert(is_old || token != 0 || expires == 0 || before == attempt);
            attempts++;
            attempt = attempts;
            is_old = false;
            logged_out = false;
            is_stored = true;
            writers++;
            if
            :: token != 0 -> expires = token; born = guess; failed[0] = false; failed[1] = false
            :: else -> failed[group] = true
            fi
        :: else
        fi
    };
    /* A logout does not wait for a process that has stopped with the lock. It may have run in between. */
    atomic {
        if
#ifndef BREAK_SECOND_LOOK
        :: is_stored && mark != begun ->
           attempt = 0; expires = 0; failed[0] = false; failed[1] = false; logged_out = false
#endif
        :: else
        fi;
        if
        :: is_stored -> writers--; is_stored = false
        :: else
        fi;
        if
        :: directory_holder == _pid -> directory_holder = NOBODY
        :: else
        fi;
        check_logout()
    }
}

proctype fetcher(byte group) {
    byte seen, file = 0, name, token, guess, begun;
    bool got, is_relief = false, is_over = false, may_store, is_stored, must_end;

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
          /* So may the relief leader. Then another waiter takes its place, without the lock. */
          :: atomic {
                 is_relief && file_of[RELIEF(group)] != 0 && holder[file_of[RELIEF(group)]] != NOBODY &&
#ifdef BREAK_SUCCESSION
                 false &&
#endif
                 is_silent[relief[group]] && attempt == seen ->
                 relief[group] = _pid;
                 break
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
    atomic { seen = attempt; guess = logouts; begun = mark; fetching++ };
    if
    :: kills < KILLS -> atomic { kills++; release(file); fetching--; goto done }
    :: stops < STOPS -> atomic { stops++; is_silent[_pid] = true }; goto end_stopped
    :: true
    fi;
    atomic {
        requests[group]++;
        /* Without trouble, each group of equal processes makes one request. */
        assert(KILLS + STOPS + LOSSES > 0 || logouts > 0 || requests[group] <= 1);
        /* A stopped leader costs one more, and so does a killed one, or a lost lock. */
        assert(logouts > 0 || is_blocked || requests[group] <= 1 + kills + stops + losses);
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
       atomic { stops++; is_silent[_pid] = true };
       if
       :: goto end_stopped
       :: skip               /* and goes on, late */
       fi
    :: true
    fi;
    store(seen, begun, group, token, guess);
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

    /* An hour passes, and the token expires. The model has no other clock. There may never be a token. */
end_idle:
    atomic {
        attempt != 0 && lockless == 0 && (fetching == 0 || stops > 0) ->
        is_old = true; dead = attempt; requests[0] = 0; requests[1] = 0
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
       if
       :: atomic { directory_holder == NOBODY -> directory_holder = _pid }
       :: atomic { directory_holder != NOBODY && is_blocked -> is_idle = false; goto release_all }
       fi;
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
release_all:
    name = 0;
    do
    :: name < LOCKS -> atomic { release(taken[name]); name++ }
    :: else -> break
    od
}
#endif

#ifdef LOGOUT
proctype logout() {
    if
    :: atomic { directory_holder == NOBODY -> directory_holder = _pid }
    /* The holder has stopped. */
    :: atomic { directory_holder != NOBODY && is_blocked -> skip }
    fi;
    atomic { logouts++; is_logging_out = true; mark++ };
#if LOGOUT == 2
    /* Lists the names in between, without the lock. */
    atomic {
        if
        :: directory_holder == _pid -> directory_holder = NOBODY
        :: else
        fi
    };
    if
    :: atomic { directory_holder == NOBODY -> directory_holder = _pid }
    :: atomic { directory_holder != NOBODY && is_blocked -> skip }
    fi;
#endif
    atomic {
        expires = 0; failed[0] = false; failed[1] = false;
#if LOGOUT == 2
        attempt = 0; logged_out = false;
#else
        attempts++; attempt = attempts; logged_out = true;
#endif
        is_logging_out = false;
        if
        :: directory_holder == _pid -> directory_holder = NOBODY
        :: else
        fi;
        check_logout()
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
#ifndef ONE_GROUP
        run fetcher(1);
#endif
#ifdef SWEEP
        run sweeper();
#endif
#ifdef LOGOUT
        run logout()
#endif
    }
}
