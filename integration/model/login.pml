/* The rules for the state of a login: callers, renewal processes, logout, and a host whose refresh tokens are valid for
 * one use only. docs/sharing.md explains the rules.
 *
 * Options, for spin's -D:
 *   CALLERS   number of callers (3); each starts a renewal process if it finds none
 *   KILLS     how many renewal processes may be killed, at any step
 *   STOPS     how many renewal processes may stop for ever, with the lock
 *   LOST      how many answers the network may lose
 *   FULL      how many times the disk may be full
 *   LOGOUT    a logout runs too
 *   LOGIN     a new login is stored, after the logout if there is one
 *   BREAK_…   leaves one rule out, to show that the properties notice it
 */

#ifndef CALLERS
#define CALLERS 3
#endif
#ifndef KILLS
#define KILLS 0
#endif
#ifndef STOPS
#define STOPS 0
#endif
#ifndef LOST
#define LOST 0
#endif
#ifndef FULL
#define FULL 0
#endif

#define NOBODY 255

mtype = { nothing, new_token, same_token, refused, try_later, unsent };

#define PROCESSES 12

/* The session of the state file and of the marker beside it, which makes it valid. 0 if there is no such file. */
byte state = 1;
byte marker = 1;
/* The session of the file in which a process prepares the next state. */
byte prepared[PROCESSES];
#define IS_VALID (state == 1 && marker == 1)
byte refresh_token = 1;
byte version = 1;                     /* changes with each answer that settles what became of the token */
bool is_sent = false;                 /* the token is in flight, or its answer was lost */
bool is_over = false;                 /* the host has refused the token */
bool is_usable = true;                /* the access token has not expired */

byte lock_holder = NOBODY;

/* The host. It accepts one refresh token, and issues the next one with each answer. */
byte accepted = 1;

/* What the properties are about. */
bool is_in_doubt = false;             /* a request has gone out, and no answer to it is stored */
byte outstanding = 0;                 /* renewal processes that wait for an answer */
byte kills = 0, stops = 0, lost = 0, full_disks = 0;
byte begun = 0, ended = 0, calls = 0; /* renewals and calls */
bool is_logout_over = true, is_login_over = true;

/* Settles the outcome of a request in the state. */
inline settle(what) {
#ifdef BREAK_LOGOUT
    is_current = true;
#endif
#ifdef BREAK_PREPARE
    is_current = (marker == 1);
    prepared[_pid] = 1;
#endif
#if !defined(BREAK_LOGOUT) && !defined(BREAK_PREPARE)
#ifdef LOGIN
    prepared[_pid] = 1;
    is_current = (marker == 1);
#else
    /* Or the user has logged out in between. In two steps, it makes a difference for a new login only. */
    atomic { prepared[_pid] = 1; is_current = (marker == 1) };
#endif
#endif
    /* Renames it, unless a login or a logout has removed it. */
    atomic {
        if
#ifdef BREAK_LOGOUT
        :: is_current ->
           marker = 1;
#else
        :: is_current && prepared[_pid] != 0 ->
#endif
           /* No refresh token is replaced by an older one. */
           assert(next >= refresh_token);
           state = 1;
           refresh_token = next;
           is_sent = false;
           if
           :: what == new_token || what == same_token -> is_usable = true; version++
           :: what == refused -> is_over = true; version++
           :: else
           fi
        :: else
        fi;
        prepared[_pid] = 0;
        is_in_doubt = false
    }
}

/* A login or a logout removes the files of others. */
inline remove_prepared() {
    atomic {
#ifdef BREAK_FILES
        number = PROCESSES;
#endif
        do
        :: number < PROCESSES -> prepared[number] = 0; number++
        :: else -> number = 0; break
        od
    }
}

/* One renewal. `known` is the version of the state that the caller has found, with `was_sent`. */
proctype renewal(byte known; bool was_sent) {
    byte mine, next;
    mtype answer = nothing;
    bool has_room = true, is_current;


#ifdef BREAK_RELOAD
    mine = refresh_token;
#endif
#ifndef BREAK_LOCK
    if
    :: atomic { lock_holder == NOBODY -> lock_holder = _pid }
    :: atomic { lock_holder != NOBODY -> goto done }
    fi;
#endif
    if
    :: kills < KILLS -> atomic { kills++; goto release }
    :: true
    fi;
#ifndef BREAK_RELOAD
    /* Reads the state under the lock: another process may have renewed the login. */
    if
    :: atomic { version != known || is_sent != was_sent || !IS_VALID || is_over -> goto release }
    :: atomic { version == known && is_sent == was_sent && IS_VALID && !is_over -> mine = refresh_token }
    fi;
#endif
#ifndef BREAK_DOUBT
    /* An answer that was lost may come to light only when the access token is worth nothing any more. */
    if
    :: atomic { is_sent && is_usable -> goto release }
    :: atomic { !is_sent || !is_usable -> skip }
    fi;
#endif
    /* Room for the answer, or nothing is sent. */
    if
    :: full_disks < FULL -> full_disks++; has_room = false
    :: true
    fi;
#ifndef BREAK_ROOM
    if
    :: !has_room -> goto release
    :: else
    fi;
#endif
#ifndef BREAK_SENT
    is_sent = true;
#endif
    if
    :: kills < KILLS -> atomic { kills++; goto release }
    :: stops < STOPS -> stops++; goto end_stopped
    :: true
    fi;
    atomic {
        /* A token in flight is not sent again while its access token is usable, nor while its answer may come. */
        assert(!(is_in_doubt && is_usable));
        assert(outstanding == 0);
        outstanding++;
        is_in_doubt = true
    };
    /* The host. */
    atomic {
        if
        :: mine == accepted ->
           if
           :: accepted++; answer = new_token; next = accepted
           :: answer = same_token; next = mine
           :: answer = try_later; next = mine
           :: answer = unsent; next = mine
           :: lost < LOST -> lost++; answer = nothing
           :: lost < LOST -> lost++; accepted++; answer = nothing
           fi
        :: else ->
           /* A token that was used is sent only if its answer was lost. */
           assert(lost + kills + stops > 0);
           answer = refused; next = mine
        fi
    };
    if
    :: kills < KILLS -> atomic { kills++; outstanding--; goto release }
    :: stops < STOPS -> atomic { stops++; outstanding-- }; goto end_stopped
#ifdef BREAK_OWN_PROCESS
    /* The caller itself has sent the token, and its time is over. */
    :: atomic { true -> outstanding--; goto release }
#endif
    :: true
    fi;
    atomic { outstanding-- };
#ifdef BREAK_ORDER
    lock_holder = NOBODY;
#endif
    if
    :: answer == nothing
    :: answer != nothing && has_room -> settle(answer)
    :: answer != nothing && !has_room -> skip
    fi;
release:
    atomic {
        if
        :: lock_holder == _pid -> lock_holder = NOBODY
        :: else
        fi
    };
    goto done;
end_stopped:
    false;
done:
    ended++
}

/* A call. It starts a renewal and waits for its outcome, or for its own deadline, which may come at any time. */
proctype caller() {
    byte known = version;

    if
    :: atomic { IS_VALID && !is_over -> run renewal(known, is_sent); begun++ }
    :: atomic { !IS_VALID || is_over -> goto done }
    fi;
    if
    :: version != known || marker != 1 || is_over
    :: true                           /* the deadline */
    fi;
done:
    calls++
}

#ifdef LOGOUT
proctype logout() {
    byte number = 0;

#ifndef BREAK_LOGOUT
    marker = 0;
    remove_prepared();
#endif
    /* Waits for a renewal, until its own deadline. */
    if
    :: atomic { lock_holder == NOBODY -> lock_holder = _pid }
    :: true
    fi;
    state = 0;
    marker = 0;
    atomic {
        if
        :: lock_holder == _pid -> lock_holder = NOBODY
        :: else
        fi;
        is_logout_over = true
    }
}
#endif

#ifdef LOGIN
proctype login() {
    byte number = 0;

    is_logout_over;
    /* Waits for a renewal, until its own deadline. */
    if
    :: atomic { lock_holder == NOBODY -> lock_holder = _pid }
    :: true
    fi;
    state = 2;
    marker = 2;
    remove_prepared();
#ifndef BREAK_SUPERSEDE
    /* An older state may have been stored before the marker was. */
    if
    :: state != 2 -> state = 2
    :: else
    fi;
#endif
    atomic {
        if
        :: lock_holder == _pid -> lock_holder = NOBODY
        :: else
        fi;
        is_login_over = true
    }
}
#endif

/* The access token expires once. */
proctype expiry() {
    is_usable = false
}

init {
    byte number = 0;
    atomic {
        do
        :: number < CALLERS -> run caller(); number++
        :: else -> break
        od;
        run expiry();
#ifdef LOGOUT
        is_logout_over = false;
        run logout();
#endif
#ifdef LOGIN
        is_login_over = false;
        run login();
#endif
        skip
    };
    /* Everything has ended, apart from processes that have stopped. */
    calls == CALLERS && begun == ended + stops && is_logout_over && is_login_over;
#ifdef LOGIN
    /* A process that was stopped while it stored an older login has not replaced the new one. */
    assert(state == 2 && marker == 2);
#else
#ifdef LOGOUT
    /* A logout stays. */
    assert(!IS_VALID);
#else
    /* Without a lost answer, a full disk or a kill, nothing costs a login. */
    assert(lost + kills + stops > 0 || (!is_over && refresh_token == accepted));
#endif
#endif
}
