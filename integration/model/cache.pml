/* The sharing rules of the cache: leader, waiters, relief leader, sweep and logout.
 *
 * A fetcher is one run of ycred without a usable token. Each may be killed or stopped at any step, and a lock may be
 * lost once: a process then goes on without it. docs/sharing.md explains the rules in the same order.
 *
 * What each part stands for:
 *   fetcher         obtain::Run::lead_or_wait, and lead from the request on
 *   lock            lock_name in obtain.rs, SharingGroup::lock_name_of
 *   try_lock        lock::try_lock_opened; release_lock is the end of LockGuard, which removes a `.way-` lock
 *   relief          Slot::try_relief, lock::take_over. relief.pml has the times
 *   take_turn       turn::wait_for_turn with end_turn, Turn::wait
 *   store           Entry::store_attempt, Attempt::may_replace, Entry::write_unless_logged_out, Turn::replace
 *   sweeper         sweep::sweep, remove_dead, remove, remove_further_locks; sweep_directory in cache.rs
 *   logout          Slot::clear twice, logout::remove_again
 *   logout_all      Cache::delete_idle, then Slot::clear for the identities in use
 *   exchanger       a fetch that exchanges the first identity's token: Entry::exchanging, Deletion::delete_tokens
 *
 * Options, for spin's -D:
 *   FETCHERS   number of fetchers of the first identity (3); the last one is of a sharing group of its own and has another
 *              lock
 *   ONE_GROUP  leaves that one out
 *   OTHERS     number of fetchers of a second identity (0)
 *   FAULTY     number of further fetchers of the first identity (0, at most 2). Each is of another way, such as with another
 *              `PATH` or subject token, and fails
 *   KILLS      how many fetchers may be killed
 *   STOPS      how many fetchers may stop for ever, in possession of their locks
 *   LOSSES     how many times a lock may be lost
 *   FAILING    the cloud rejects every request
 *   SWEEP      a sweep runs too. It may stop in its turn as well
 *   LOGOUT     a logout of the first identity runs too
 *   LOGOUT_ALL a logout of all identities runs too
 *   FURTHER_SWEEP  a sweep removes the further locks of an identity in use
 *   EXCHANGER  a fetcher exchanges the token of the first identity for another one, which the logout finds by its record
 *   UNLOCKABLE no process can take the turn to store something away from another one
 *   LARGE      the directory is so large that the sweep does not see the lock of the other sharing group
 *   BREAK_…    leaves one rule out, to show that the properties notice it
 */

#ifndef FETCHERS
#define FETCHERS 3
#endif
#ifndef OTHERS
#define OTHERS 0
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
#ifdef BREAK_WAYS
#define BREAK_WAY_OF_NEWCOMER
#endif

#if OTHERS
#define IDENTITIES 2
#else
#define IDENTITIES 1
#endif
#ifdef ONE_GROUP
#define GROUPS 1
#else
#define GROUPS 2
#endif
#ifndef FAULTY
#define FAULTY 0
#endif
#if FAULTY
#define WAYS 3
#else
#define WAYS 1
#endif
#if WAYS == 1
#define FURTHER 0
#else
#define FURTHER WAYS
#endif

/* Each sharing group of each identity has a lock. The ways of the first group have further ones. Each lock has a relief
 * lock. */
#define SLOTS (IDENTITIES * (GROUPS + FURTHER))
#define SLOT(identity, group) (identity * (GROUPS + FURTHER) + group)
#define LOCKS (2 * SLOTS)
#define RELIEF(slot) (SLOTS + slot)
#define NAMES (2 * (GROUPS + FURTHER))  /* lock files of an identity */
#define PARTY(slot, way) (slot * WAYS + way)
#define PARTIES (SLOTS * WAYS)
#if WAYS == 1
#define HAS_FAILED_FOR_UNLIKE(slot, way) false
#else
#define HAS_FAILED_FOR_UNLIKE(slot, way) \
    ((way != 0 && failed[PARTY(slot, 0)]) || (way != 1 && failed[PARTY(slot, 1)]) || (way != 2 && failed[PARTY(slot, 2)]))
#endif
#ifdef FAILING
#define FAILS(way) true
#else
#define FAILS(way) (way > 0)
#endif
#define FILES 12                      /* lock files that are created in one run */
#define PROCESSES 10
#define NOBODY 255

/* The records. An attempt that is 0 means that there is no record. */
byte attempt[IDENTITIES];
byte expires[IDENTITIES];             /* of the token; 0 for none */
bool failed[PARTIES];                 /* attempts of this group and way have failed since the last token */
bool logged_out[IDENTITIES];          /* the record is the empty one that a logout leaves */
byte last_logout[IDENTITIES];         /* which logout has left one last; each later record says so too */
byte mark = 0;                        /* the file `last-logout`; never removed */

/* The lock files: the file that has each name (0 for none), and the process that holds each file. */
byte file_of[LOCKS];
byte holder[FILES];
byte files = 0;
byte turn = NOBODY;                  /* the process whose turn it is to replace records */
byte relief[SLOTS];                   /* the process that the relief lock names */

/* What the properties are about, and no process can see. */
byte requests[PARTIES];
byte issued[IDENTITIES];              /* tokens that the cloud has issued: each expires later than the one before */
byte attempts[IDENTITIES];
byte logouts[IDENTITIES];
byte born[IDENTITIES];                /* how many logouts there had been when the fetch of the stored token began */
byte kept[IDENTITIES];                /* when the token that was stored last expires */
byte way_of[PROCESSES];
byte writers[IDENTITIES];             /* processes that have replaced the record, and will look at the mark again */
bool is_old[IDENTITIES];              /* an hour has passed since the last attempt, and the token has expired */
bool is_clearing = false;             /* a logout is about to replace the record without the lock of the directory */
byte stage = 0;                       /* of a logout of all: 1 while it deletes records, 2 after that, 3 when it has ended */
bool is_swept = false;                /* a sweep has replaced the mark, to remove the record of a logout */
bool is_silent[PROCESSES];            /* stopped, for ever or for a while */
bool is_unlocked = false;             /* a logout has gone on without its turn */
bool has_key = false;                 /* the record of an access key is stored */
byte key_born = 0;                    /* how many logouts there had been when its fetch began */
bool is_logout_over = false;
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

/* Releases the lock, and removes a further one: few processes need it, and not again. */
inline release_lock() {
#if WAYS > 1
    if
#ifdef BREAK_HOLDER
    :: name >= GROUPS && name < SLOTS -> file_of[name] = 0
#else
    :: got && name >= GROUPS && name < SLOTS -> file_of[name] = 0
#endif
    :: else
    fi;
#endif
    release(file)
}

/* Tries once to take a lock. `got` is true if this process holds it. */
inline try_lock(name, file, got) {
    got = false;
    open_lock(name, file);
    atomic {
        if
        :: holder[file] == NOBODY ->
           holder[file] = _pid; got = true;
           /* A relief leader writes itself into the file, in its turn. */
           if
           :: name >= SLOTS -> relief[name - SLOTS] = _pid
           :: else
           fi
        :: else -> file = 0
        fi
    };
#ifndef BREAK_FILE_CHECK
    /* The file must still have its name, or it was removed in between. */
    atomic {
        if
        :: got && file_of[name] != file -> release(file); got = false
        :: else
        fi
    }
#endif
}

/* A process that has stopped in its turn loses it. */
#ifdef UNLOCKABLE
#define IS_TURN_FREE (turn == NOBODY)
#else
#ifdef BREAK_END_TURN
#define IS_TURN_FREE (turn == NOBODY)
#else
#define IS_TURN_FREE (turn == NOBODY || is_silent[turn])
#endif
#endif
/* What a logout does in its turn is one step. It goes on without its turn if it cannot have it. */
#define MUST_GO_ON (turn != NOBODY && is_silent[turn])

/* Ends the turn of a stopped process. In the program these are two steps, but each takes the turn from one kind of process: what
 * a process that stores something has prepared is removed, then the directory that one that removes something has locked. */
inline end_turn() {
    if
    :: turn != NOBODY -> turn = NOBODY
    :: else
    fi
}

inline remove_record(identity) {
    attempt[identity] = 0; expires[identity] = 0; logged_out[identity] = false; last_logout[identity] = 0;
    forget_failures(identity)
}

inline forget_failures(identity) {
    failed[PARTY(SLOT(identity, 0), 0)] = false;
    failed[PARTY(SLOT(identity, (GROUPS - 1)), 0)] = false;
#if WAYS == 3
    failed[PARTY(SLOT(identity, 0), 1)] = false;
    failed[PARTY(SLOT(identity, 0), 2)] = false
#endif
}

/* What is stored stays until its identity is logged out. */
inline check_kept(identity) {
    assert(expires[identity] == kept[identity] || is_old[identity] || logouts[identity] > 0 || is_swept)
}

/* A logout stays: the stored token is of a fetch that began after the last one. */
inline check_logout(identity) {
    assert(expires[identity] == 0 || born[identity] == logouts[identity] || writers[identity] > 0 ||
           is_clearing || stage == 1 || stage == 2)
}

/* Stores the result of a fetch. `before`, `known` and `begun` are the attempt, the last logout and the mark that were read
 * before it, `guess` is the number of logouts then, and `is_early` is true if a logout of all was deleting records.
 * `must_end` is true if the process has been killed or has stopped. */
inline store(before, known, begun, token, guess) {
    is_stored = false; must_end = false; is_lost = false;
#ifdef BREAK_TURN
    may_store = true;
#else
    if
    :: atomic { IS_TURN_FREE -> turn = _pid; may_store = true }
#if defined(UNLOCKABLE) || defined(BREAK_END_TURN)
    /* Stores nothing. */
    :: atomic { MUST_GO_ON -> may_store = false }
#endif
    fi;
#endif
    /* Reads the mark and the record, and decides. */
    atomic {
        if
#ifndef BREAK_MARK
        :: mark != begun ->
           /* Another identity's logout costs this one nothing. */
           assert(stage > 0 || is_unlocked || is_swept || guess != logouts[identity]);
           may_store = false
#endif
        :: attempt[identity] != before ->
            if
            :: false
#ifndef BREAK_LAST_LOGOUT
            :: last_logout[identity] != known && last_logout[identity] != 0 -> may_store = false
#endif
#ifndef BREAK_LATE_LEADER
            :: token == 0 && expires[identity] != 0 -> may_store = false
            :: token == 0 && expires[identity] == 0 && failed[PARTY(slot, way)] -> may_store = false
            :: token != 0 && expires[identity] >= token -> may_store = false
#endif
            :: else
            fi
        :: else
        fi
    };
    if
    :: may_store && kills < KILLS -> kills++; must_end = true
    :: may_store && stops < STOPS ->
       atomic { stops++; is_silent[_pid] = true };
       if
       :: goto end_stopped
       :: skip               /* and goes on, late */
       fi
    :: true
    fi;
    /* Replaces it, in a step of its own. If it has lost its turn, the new content is gone. */
    atomic {
        if
#if !defined(BREAK_FENCE) && !defined(BREAK_TURN)
        :: may_store && !must_end && turn != _pid -> is_lost = true
#endif
        :: may_store && !must_end &&
#if !defined(BREAK_FENCE) && !defined(BREAK_TURN)
           turn == _pid &&
#endif
           true ->
            /* No stored token is replaced by one that expires earlier. */
            assert(is_old[identity] || token == 0 || token >= expires[identity]);
            /* Nor by a failure. */
            assert(is_old[identity] || token != 0 || expires[identity] == 0 || before == attempt[identity]);
            attempts[identity]++;
            attempt[identity] = attempts[identity];
            is_old[identity] = false;
            logged_out[identity] = false;
            is_stored = true;
            writers[identity]++;
            if
            :: token != 0 -> expires[identity] = token; kept[identity] = token; born[identity] = guess; forget_failures(identity)
            :: else -> failed[PARTY(slot, way)] = true
            fi
        :: else
        fi
    };
    /* A logout does not wait for a process that has stopped with the lock. It may have run in between. */
    atomic {
        if
#ifndef BREAK_SECOND_LOOK
#ifdef BREAK_LAST_FENCE
        :: is_stored && mark != begun -> remove_record(identity)
#else
        :: is_stored && mark != begun && turn == _pid ->
           attempts[identity]++; attempt[identity] = attempts[identity];
           expires[identity] = 0; logged_out[identity] = true; is_old[identity] = false;
           last_logout[identity] = NOBODY;
           forget_failures(identity)
        /* It has lost its turn since. The process that has ended it has seen the record. */
        :: is_stored && turn != _pid -> skip
#endif
#endif
        :: else ->
           /* While a logout of all deletes records, a fetch may find none. It stores nothing after that. */
           assert(!is_stored || !is_early || stage < 2)
        fi;
        if
        :: is_stored -> writers[identity]--; is_stored = false
        :: else
        fi;
        if
        :: turn == _pid -> turn = NOBODY
        :: else
        fi;
        check_logout(identity)
    }
}

proctype fetcher(byte identity, group, way) {
    byte seen, known, file = 0, slot, lock, name, token, guess, begun, awaited = NOBODY, waits = 0;
    bool got, is_relief = false, is_over = false, may_store, is_stored, must_end, is_lost, is_early, must_switch = false;

    /* A first look, without a lock. */
    atomic {
        slot = SLOT(identity, group);
        lock = slot;
        way_of[_pid] = way;
        seen = attempt[identity]; known = last_logout[identity];
        if
        :: expires[identity] != 0 && !is_old[identity] -> is_over = true
#ifndef BREAK_SHARED_FAILURE
        :: expires[identity] == 0 && failed[PARTY(slot, way)] && !is_old[identity] -> is_over = true
#endif
#if WAYS > 1
#ifndef BREAK_WAY_OF_NEWCOMER
        /* Others of this way have seen that failure too, and use their further lock. */
        :: expires[identity] == 0 && !failed[PARTY(slot, way)] && HAS_FAILED_FOR_UNLIKE(slot, way) ->
           lock = GROUPS + way
#endif
#endif
        :: else
        fi
    };
    if
    :: is_over -> goto done
    :: else
    fi;
    do
    :: name = (is_relief -> RELIEF(lock) : lock);
       try_lock(name, file, got);
       /* With or without the lock, the record may be new. */
#ifndef BREAK_RELOAD
       atomic {
           if
           :: attempt[identity] != seen ->
              if
              :: logged_out[identity] -> is_over = true
              :: !logged_out[identity] && expires[identity] != 0 && !is_old[identity] -> is_over = true
#ifndef BREAK_SHARED_FAILURE
              /* The failure counts for this process only if it is of the same group. */
              :: !logged_out[identity] && expires[identity] == 0 && failed[PARTY(slot, way)] ->
                 is_over = true
#endif
#ifdef BREAK_WAY_OF_FAILURE
              :: !logged_out[identity] && expires[identity] == 0 && HAS_FAILED_FOR_UNLIKE(slot, way) ->
                 assert(FAILS(way));
                 is_over = true
#endif
              :: else ->
                 seen = attempt[identity]; known = last_logout[identity];
#if WAYS > 1
#ifndef BREAK_WAYS
                 if
                 :: HAS_FAILED_FOR_UNLIKE(slot, way) && lock == slot ->
                    lock = GROUPS + way;
#ifndef BREAK_KEPT_LOCK
                    /* Those of the same way must find the other lock. */
                    must_switch = true
#endif
                 :: else
                 fi
#endif
#endif
              fi
           :: else
           fi
       };
       if
       :: is_over -> atomic { release_lock(); goto done }
#if WAYS > 1
       :: must_switch -> atomic { release_lock(); must_switch = false; goto next }
#endif
       :: else
       fi;
#endif
       if
       :: got -> break
       :: !got && losses < LOSSES -> losses++; lockless++; break
       :: else ->
#if WAYS > 1
          /* No process waits for one that fails in another way, and then for the next. */
          atomic {
              if
              :: file_of[name] != 0 && holder[file_of[name]] != NOBODY && holder[file_of[name]] != awaited &&
                 way_of[holder[file_of[name]]] != NOBODY &&
                 way_of[holder[file_of[name]]] != way ->
                 awaited = holder[file_of[name]];
                 waits++
              :: else
              fi;
              assert(stops > 0 || waits <= 1 + kills)
          };
#endif
          /* The leader may be slow or stopped. After most of its time, a waiter makes the request itself. */
          if
          :: atomic {
                 !is_relief &&
                 (file_of[lock] == 0 || holder[file_of[lock]] == NOBODY || attempt[identity] != seen) ->
                 skip
             }
#ifndef BREAK_RELIEF
          :: atomic { !is_relief && stops > 0 -> is_relief = true }
          /* So may the relief leader. Then another waiter takes its place, without the lock. */
          :: atomic {
                 is_relief && file_of[RELIEF(lock)] != 0 && holder[file_of[RELIEF(lock)]] != NOBODY &&
#ifdef BREAK_SUCCESSION
                 false &&
#endif
                 is_silent[relief[lock]] && attempt[identity] == seen ->
                 relief[lock] = _pid;
                 break
             }
          :: atomic {
                 is_relief &&
                 (file_of[RELIEF(lock)] == 0 || holder[file_of[RELIEF(lock)]] == NOBODY || attempt[identity] != seen) ->
                 skip
             }
#endif
          fi
       fi;
#if WAYS > 1
next:
       skip
#endif
    od;

    /* This process is the leader. A logout may have run since it has read the record. */
    atomic { guess = logouts[identity]; begun = mark; is_early = (stage == 1); fetching++ };
    if
    :: kills < KILLS -> atomic { kills++; release(file); fetching--; goto done }
    :: stops < STOPS -> atomic { stops++; is_silent[_pid] = true }; goto end_stopped
    :: true
    fi;
    atomic {
        requests[PARTY(slot, way)]++;
        /* Without trouble, each group of equal processes makes one request. */
        assert(KILLS + STOPS + LOSSES > 0 || logouts[identity] > 0 || is_swept || requests[PARTY(slot, way)] <= 1);
        /* A stopped leader costs one more, and so does a killed one, or a lost lock. */
#ifndef UNLOCKABLE
        assert(logouts[identity] > 0 || is_swept || requests[PARTY(slot, way)] <= 1 + kills + stops + losses);
#endif
        if
        :: FAILS(way) -> token = 0
        :: else -> issued[identity]++; token = issued[identity]
        fi
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
    do
    :: store(seen, known, begun, token, guess);
       /* Without its turn, it begins again: the record may be another one by now. */
       if
       :: is_lost
       :: else -> break
       fi
    od;
    atomic {
        /* A lock in use keeps its name. */
        assert(!got || file_of[name] == file);
        release_lock();
        fetching--
    };
    goto done;
end_stopped:
    false;                   /* for ever, with its locks */
done:
    skip
}

#if defined(SWEEP) || defined(LOGOUT_ALL) || defined(FURTHER_SWEEP)
#define NAME(identity, number) (number % 2 -> RELIEF(SLOT(identity, (number / 2))) : SLOT(identity, (number / 2)))

#endif

#ifdef FURTHER_SWEEP
/* Removes the locks of an identity in use, except the first one and its relief lock. */
proctype further_sweeper() {
    byte number = 2, name, file = 0;
    bool got;

    way_of[_pid] = NOBODY;                /* it holds a lock for a moment only */

    do
    :: number < NAMES ->
       name = NAME(0, number);
       file = file_of[name];
       atomic {
           got = false;
           if
           :: file != 0 && holder[file] == NOBODY -> holder[file] = _pid; got = true
           :: else
           fi
       };
#ifdef BREAK_FURTHER
       got = true;
#endif
       /* Another process may have removed it after it was opened. */
       atomic {
           if
           :: got && file_of[name] != file -> got = false
           :: else
           fi
       };
       atomic {
           if
           :: got -> file_of[name] = 0
           :: else
           fi;
           release(file);
           number++
       }
    :: else -> break
    od
}
#endif

#if defined(SWEEP) || defined(LOGOUT_ALL)
/* Tries once to take each lock of an identity. */
inline take_all_locks(identity) {
    do
    :: atomic {
           number < NAMES ->
           name = NAME(identity, number);
           if
           :: file_of[name] == 0
#ifdef LARGE
           :: file_of[name] != 0 && number / 2 == 1
           :: file_of[name] != 0 && number / 2 != 1 ->
#else
           :: else ->
#endif
              if
              :: holder[file_of[name]] == NOBODY -> taken[number] = file_of[name]; holder[taken[number]] = _pid
              :: else -> is_idle = false
              fi
           fi;
           name = 0;
           number++
       }
    :: atomic { number == NAMES -> number = 0; break }
    od
}

/* Removes the lock files that this process has taken, if it has taken all, and releases them. */
inline remove_locks(identity) {
    do
    :: atomic {
           number < NAMES && is_idle ->
           name = NAME(identity, number);
           if
           :: taken[number] != 0 && file_of[name] == taken[number] -> file_of[name] = 0
           :: else
           fi;
#ifdef BREAK_LOCKS_OF_OTHERS
           file_of[NAME((1 - identity), number)] = 0;
#endif
           name = 0;
           number++
       }
    :: atomic { number == NAMES || !is_idle -> number = 0; break }
    od;
    atomic {
        do
        :: number < NAMES -> release(taken[number]); number++
        :: else -> number = 0; break
        od
    }
}
#endif

#ifdef SWEEP
proctype sweeper() {
    byte taken[NAMES], number = 0, name = 0, identity = 0, dead[IDENTITIES];
    bool is_idle, is_marked = false;

    /* An hour passes, and the tokens expire. The model has no other clock. There may never be a token. */
end_idle:
    atomic {
        (attempt[0] != 0 || attempt[IDENTITIES - 1] != 0) && lockless == 0 && (fetching == 0 || stops > 0) ->
        do
        :: identity < IDENTITIES ->
           is_old[identity] = (attempt[identity] != 0);
           dead[identity] = attempt[identity];
           requests[PARTY(SLOT(identity, 0), 0)] = 0; requests[PARTY(SLOT(identity, (GROUPS - 1)), 0)] = 0;
           identity++
        :: else -> identity = 0; break
        od
    };
    do
    :: identity < IDENTITIES ->
       atomic {
           is_idle = true;
           /* With the record of a logout goes what keeps an earlier fetch from storing its token. */
           if
#ifndef BREAK_SWEEP_MARK
           :: logged_out[identity] && attempt[identity] == dead[identity] && !is_marked ->
              mark++; is_marked = true; is_swept = true
#endif
           :: else
           fi
       };
       take_all_locks(identity);
#ifdef BREAK_SWEEP
       is_idle = true;
       atomic {
           do
           :: number < NAMES -> taken[number] = file_of[NAME(identity, number)]; number++
           :: else -> number = 0; break
           od
       };
#endif
       if
       :: is_idle ->
          /* A process that was not there before may have stored something in between. Tries this lock once too. */
          atomic {
              if
              :: turn != NOBODY -> is_idle = false
#ifndef BREAK_SWEEP_CHECK
              :: turn == NOBODY && attempt[identity] == dead[identity] -> turn = _pid
#else
              :: turn == NOBODY -> turn = _pid
#endif
              :: else -> is_idle = false
              fi
          };
          if
          :: is_idle && stops < STOPS ->
             atomic { stops++; is_silent[_pid] = true };
             if
             :: goto end_stopped
             :: skip               /* and goes on, late */
             fi
          :: true
          fi;
          /* Removes the record, in a step of its own. If it has lost its turn, it cannot. */
          atomic {
              if
#ifdef BREAK_SWEEP_FENCE
              :: is_idle -> remove_record(identity)
#else
              :: is_idle && turn == _pid -> remove_record(identity)
#endif
              :: else -> is_idle = false
              fi;
              if
              :: turn == _pid -> turn = NOBODY
              :: else
              fi;
              check_kept(identity);
              check_logout(identity)
          }
       :: else
       fi;
       remove_locks(identity);
       identity++
    :: else -> break
    od;
    goto done;
end_stopped:
    false;                   /* for ever, with its locks */
done:
    skip
}
#endif

#if defined(LOGOUT) || defined(LOGOUT_ALL)
inline empty_record(identity) {
    attempts[identity]++; attempt[identity] = attempts[identity];
    expires[identity] = 0; logged_out[identity] = true; is_old[identity] = false;
    last_logout[identity] = logouts[identity];
    forget_failures(identity)
}

/* Replaces the record by an empty one. */
inline clear(identity) {
#ifdef BREAK_ONE_MARK
    mark++;
#endif
    if
    :: atomic { IS_TURN_FREE -> end_turn(); logouts[identity]++; empty_record(identity) }
#ifdef UNLOCKABLE
    :: atomic {
           MUST_GO_ON -> logouts[identity]++; is_clearing = true; is_unlocked = true;
#ifndef BREAK_CLEAR_MARK
           /* First of all: the holder may be about to replace the record. */
           mark++
#endif
       };
       atomic { is_clearing = false; empty_record(identity) }
#endif
    fi
}

#define IS_FREE(lock) (file_of[lock] == 0 || holder[file_of[lock]] == NOBODY)
#define IS_IDLE(identity) \
    (IS_FREE(SLOT(identity, 0)) && IS_FREE(RELIEF(SLOT(identity, 0))) && \
     IS_FREE(SLOT(identity, (GROUPS - 1))) && IS_FREE(RELIEF(SLOT(identity, (GROUPS - 1)))))

/* Waits for the fetches of an identity, or until its own deadline. Then replaces the record again. */
inline clear_again(identity) {
    if
    :: atomic { IS_IDLE(identity) -> skip }; clear(identity)
    :: true
    fi
}
#endif

#ifdef EXCHANGER
/* A fetch of an access key, which exchanges the first identity's token. Its record may be the first one. */
proctype exchanger() {
    byte known, begun, guess;
    bool may_store;

    atomic { guess = logouts[0]; known = last_logout[0]; begun = mark };
    atomic { IS_TURN_FREE -> turn = _pid };
    atomic {
        may_store = (mark == begun);
#ifndef BREAK_INNER_LOGOUT
        may_store = (may_store && last_logout[0] == known)
#endif
    };
    atomic {
        if
        :: may_store && turn == _pid -> has_key = true; key_born = guess
        :: else
        fi;
        if
        :: turn == _pid -> turn = NOBODY
        :: else
        fi;
        /* It began after the logout had begun. */
        assert(!has_key || !is_logout_over || key_born > 0)
    }
}
#endif

#ifdef LOGOUT
proctype logout() {
    bool has_found;

#ifndef BREAK_KEYS_FIRST
    clear(0);
#endif
#ifdef EXCHANGER
    /* Finds the keys by their records. */
    has_found = has_key;
    if
    :: has_found -> atomic { IS_TURN_FREE -> end_turn(); has_key = false }
    :: else
    fi;
#endif
#ifdef BREAK_KEYS_FIRST
    clear(0);
#endif
#ifdef BREAK_OTHERS
    remove_record(1);
#endif
    clear_again(0);
    atomic { is_logout_over = true; assert(!has_key || key_born > 0) };
    check_logout(0);
    check_kept(IDENTITIES - 1)
}
#endif

#ifdef LOGOUT_ALL
proctype logout_all() {
    byte taken[NAMES], number = 0, name = 0, identity = 0;
    bool is_idle, is_listed[IDENTITIES], is_busy[IDENTITIES];

    atomic {
        IS_TURN_FREE || MUST_GO_ON ->
#ifndef UNLOCKABLE
        end_turn();
#else
        is_unlocked = (turn != NOBODY);
#endif
        logouts[0]++;
        logouts[IDENTITIES - 1] = logouts[0];
        stage = 1; mark++
    };
    /* Lists the names. */
    atomic {
        do
        :: identity < IDENTITIES ->
           is_listed[identity] = (attempt[identity] != 0);
           do
           :: number < NAMES ->
              is_listed[identity] = (is_listed[identity] || file_of[NAME(identity, number)] != 0);
              number++
           :: else -> number = 0; break
           od;
           identity++
        :: else -> identity = 0; break
        od
    };
    do
    :: identity < IDENTITIES && is_listed[identity] ->
       is_idle = true;
       take_all_locks(identity);
       atomic {
           if
           :: is_idle && turn == NOBODY -> remove_record(identity)
           :: else -> is_idle = false
           fi;
           is_busy[identity] = !is_idle
       };
       remove_locks(identity);
       identity++
    :: identity < IDENTITIES && !is_listed[identity] -> identity++
    :: else -> identity = 0; break
    od;
    /* A fetch may have begun meanwhile, with a record that is deleted by now. */
#ifdef BREAK_SECOND_MARK
    stage = 2;
#else
    atomic {
        IS_TURN_FREE || MUST_GO_ON ->
#ifndef UNLOCKABLE
        end_turn();
#endif
        stage = 2; mark++
    };
#endif
#ifndef BREAK_BUSY_IDENTITY
    do
    :: identity < IDENTITIES && is_busy[identity] -> clear(identity); identity++
    :: identity < IDENTITIES && !is_busy[identity] -> identity++
    :: else -> identity = 0; break
    od;
    do
    :: identity < IDENTITIES && is_busy[identity] -> clear_again(identity); identity++
    :: identity < IDENTITIES && !is_busy[identity] -> identity++
    :: else -> break
    od;
#endif
    atomic { stage = 3; check_logout(0); check_logout(IDENTITIES - 1) }
}
#endif

init {
    byte number = 0;
    atomic {
#ifndef ONE_GROUP
        run fetcher(0, 1, 0);
        number++;
#endif
        do
        :: number < FETCHERS -> run fetcher(0, 0, 0); number++
        :: else -> number = 0; break
        od;
        do
        :: number < FAULTY -> number++; run fetcher(0, 0, number)
        :: else -> number = 0; break
        od;
        do
        :: number < OTHERS -> run fetcher(1, 0, 0); number++
        :: else -> break
        od;
#ifdef SWEEP
        run sweeper();
#endif
#ifdef FURTHER_SWEEP
        run further_sweeper();
#endif
#ifdef EXCHANGER
        run exchanger();
#endif
#ifdef LOGOUT
        run logout();
#endif
#ifdef LOGOUT_ALL
        run logout_all();
#endif
        skip
    }
}
