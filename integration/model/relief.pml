/* The times of relief: when waiters lose patience with a stopped or slow leader, and with each other.
 *
 * The constants are those of obtain.rs and clock.rs, as shares of the time limit in percent. The leader and the waiters began
 * at time 0 and have the same limit; a further caller begins when theirs is over. The order of those that act at the same
 * time is arbitrary, and so is the time that the cloud takes.
 *
 * Options, for spin's -D:
 *   SLOW       the leader is slow, and fails at the end of its share
 *   STOPPED    the leader has stopped, and so has the relief leader, if one of the waiters became it
 *   UNLIKE     the leader has stopped, and the request of the first two waiters gets no answer. The failure does not count for
 *              the third one, which is not like them
 *   BREAK_…    leaves one rule out, to show that the properties notice it
 */

#define LIMIT 100
#ifdef BREAK_PATIENCE
#define PATIENCE 80                   /* Deadline::is_out_of_patience */
#else
#define PATIENCE 78
#endif
#define SPREAD 1                      /* PATIENCE_SPREAD */
#ifdef BREAK_LEADER_SHARE
#define LEADER_SHARE 85
#else
#define LEADER_SHARE 75
#endif
#ifdef BREAK_RELIEF_SHARE
#define RELIEF_SHARE 20
#else
#define RELIEF_SHARE 23
#endif
#define UNLIKE_RELIEF_SHARE 3
#define TURN 1                        /* TURN_SHARE: a process that has stopped in its turn loses it after that time */
#define RELIEF_MIN 1                  /* at least so much is left for a request */
#define TENTH 10                      /* the cloud answers within a tenth, where it must be in time */

#define WAITERS 3
#define CALLERS 4                     /* the last one comes later */
#define NOBODY 255

byte now = 0;
byte began[CALLERS];
byte patience[CALLERS];
byte ends[CALLERS];                   /* when its request ends; 0 without one */
bool is_over[CALLERS];
byte relief = NOBODY;
byte since = 0;
bool is_released = false;             /* the relief leader has ended, or released its lock */
bool has_result = false;              /* there is a token, or a failure that counts for all of them */
byte requests = 0;
#ifdef UNLIKE
#define IS_UNLIKE(caller) (caller == WAITERS - 1)
#define HAS_RESULT(caller) (IS_UNLIKE(caller) -> has_token : has_result)
bool has_token = false;               /* the third one has asked in time */
#else
#define IS_UNLIKE(caller) false
#define HAS_RESULT(caller) has_result
#endif

/* Makes a request, which takes until the cloud answers, or until the deadline. */
inline become_relief(caller) {
    relief = caller; since = now; is_released = false; requests++;
    /* Without trouble, equal callers make one request. */
    assert(caller == WAITERS || IS_UNLIKE(caller) || requests <= 1);
    if
#ifdef UNLIKE
    :: !IS_UNLIKE(caller) -> ends[caller] = began[caller] + LIMIT
    :: IS_UNLIKE(caller) -> ends[caller] = now + TURN + TENTH
#elif defined(STOPPED)
    :: caller < WAITERS -> ends[caller] = NOBODY     /* stops */
    :: caller == WAITERS -> ends[caller] = now + TURN + TENTH
#else
    :: ends[caller] = now + TURN + TENTH
    :: ends[caller] = began[caller] + LIMIT
#endif
    fi
}

inline act(caller) {
    if
    :: is_over[caller] || began[caller] > now
    :: !is_over[caller] && began[caller] <= now && ends[caller] == NOBODY
    :: !is_over[caller] && began[caller] <= now && ends[caller] != 0 && ends[caller] != NOBODY && now >= ends[caller] ->
       is_over[caller] = true; has_result = true; is_released = true;
#ifdef UNLIKE
       has_token = (has_token || IS_UNLIKE(caller));
       assert(ends[caller] <= began[caller] + LIMIT)
#else
       /* It is in time if the cloud is. */
       assert(ends[caller] == began[caller] + LIMIT || ends[caller] - began[caller] <= LIMIT - TENTH)
#endif
    :: !is_over[caller] && began[caller] <= now && ends[caller] != 0 && ends[caller] != NOBODY && now < ends[caller]
    :: !is_over[caller] && began[caller] <= now && ends[caller] == 0 && HAS_RESULT(caller) -> is_over[caller] = true
    :: !is_over[caller] && began[caller] <= now && ends[caller] == 0 && !HAS_RESULT(caller) &&
       now >= began[caller] + LIMIT -> is_over[caller] = true
    :: !is_over[caller] && began[caller] <= now && ends[caller] == 0 && !HAS_RESULT(caller) &&
       now < began[caller] + LIMIT ->
       if
       :: now >= began[caller] + patience[caller] && now + RELIEF_MIN <= began[caller] + LIMIT &&
          (relief == NOBODY || is_released || now - since >= RELIEF_SHARE) -> become_relief(caller)
#if defined(UNLIKE) && !defined(BREAK_UNLIKE)
       :: now >= began[caller] + patience[caller] + UNLIKE_RELIEF_SHARE && now + RELIEF_MIN <= began[caller] + LIMIT &&
          IS_UNLIKE(caller) && relief != NOBODY && !is_released && now - since < RELIEF_SHARE -> become_relief(caller)
#endif
       :: else
       fi
    fi
}

init {
    byte caller = 0;

    do
    :: caller < CALLERS ->
       if
       :: patience[caller] = PATIENCE
       :: patience[caller] = PATIENCE + SPREAD
       fi;
       began[caller] = (caller == WAITERS -> LIMIT : 0);
       caller++
    :: else -> break
    od;
    do
    :: now < 2 * LIMIT ->
       atomic {
#ifdef SLOW
           /* Storing the failure takes some time. */
           if
           :: now >= LEADER_SHARE -> has_result = true
           :: else
           fi;
#endif
           if
           :: act(0); act(1); act(2)
           :: act(2); act(0); act(1)
           :: act(1); act(2); act(0)
           fi;
           act(3);
           now++
       }
    :: else -> break
    od;
#ifdef SLOW
    /* The waiters get the reason of the leader's failure before they lose patience. */
    assert(requests == 0)
#endif
    /* Somebody has asked the cloud, or the leader has. */
    assert(has_result);
#ifdef UNLIKE
    assert(has_token)
#endif
}
