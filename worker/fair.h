/*
 * Whose job is next: evidence before convenience, and of each the tenants in
 * turn, however many jobs one of them has.
 *
 * Jobs are added to the stream of their queue, whoever adds them.  When more
 * than one waits there, they are parked: one list for each tenant and rank, a
 * sorted set of tenants by the turns they had, and a sorted set of all that is
 * parked by age.  Who asks for a job gets the first one of the tenant whose
 * turn it is, as a pending entry of the stream again, so that leases, deaths
 * and repetitions know nothing of it.  One script does all of it: a job is
 * never in two places and never in none.
 *
 *   mdvr:job:{queue}:turns:0|1           tenants, by turns; 0: evidence
 *   mdvr:job:{queue}:of:<0|1>:<tenant>   "<entry> <document>", oldest first
 *   mdvr:job:{queue}:parked              entries, by the ms they were added
 *
 * Every eighth job is a convenience, should any wait: evidence that never
 * ends does not stop it.
 */

#ifndef MDVR_WORKER_FAIR_H
#define MDVR_WORKER_FAIR_H

#include "worker/redis.h"

/*
 * The next entry of a queue, now pending for `consumer`: an array of its id and
 * its fields, or nil when nothing waits.  The caller frees it; NULL: Redis is
 * away or there is no group (redis->error).
 */
redisReply *wk_fair_next(wk_redis_t *redis, const char *queue,
    const char *group, const char *consumer);

#endif /* MDVR_WORKER_FAIR_H */
