/* Whose job is next, see fair.h. */

#include "mdvr/domain/keys.h"
#include "worker/fair.h"
#include "worker/queue.h"

#define WK_FAIR_BATCH  "500"            /* jobs parked in one go; four a call */

static const char  wk_fair_lua[] =
    "local s, parked, turn = KEYS[1], KEYS[4], KEYS[5] "
    "local group, me, batch = ARGV[1], ARGV[2], tonumber(ARGV[3]) "

    "local function list(rank, tenant) "
    "return s .. ':of:' .. rank .. ':' .. tenant end "

    "local function document(fields) "
    "for i = 1, #fields, 2 do "
    "if fields[i] == 'job' then return fields[i + 1] end end "
    "return '' end "

    "local function park(entry) "
    "local doc = document(entry[2]) "
    "local tenant = string.match(doc, "
    "'\"tenant_id\"%s*:%s*\"([%w-]+)\"') or '-' "
    "local rank = 1 "
    "if string.find(doc, '\"source\"%s*:%s*\"alarm_file\"') "
    "or string.find(doc, '\"alarm_id\"%s*:%s*\"%x') then rank = 0 end "
    "local z = KEYS[2 + rank] "
    "if not redis.call('ZSCORE', z, tenant) then "
    "local first = redis.call('ZRANGE', z, 0, 0, 'WITHSCORES') "
    "redis.call('ZADD', z, first[2] or 0, tenant) end "
    "redis.call('RPUSH', list(rank, tenant), entry[1] .. ' ' .. doc) "
    "redis.call('ZADD', parked, string.match(entry[1], '^%d+'), entry[1]) "
    "redis.call('XACK', s, group, entry[1]) "
    "redis.call('XDEL', s, entry[1]) end "

    "local function next_of(rank) "
    "local z = KEYS[2 + rank] "
    "local first = redis.call('ZRANGE', z, 0, 0, 'WITHSCORES') "
    "if not first[1] then return nil end "
    "local item = redis.call('LPOP', list(rank, first[1])) "
    "if redis.call('LLEN', list(rank, first[1])) == 0 then "
    "redis.call('ZREM', z, first[1]) "
    "else redis.call('ZADD', z, first[2] + 1, first[1]) end "
    "return item end "

    "for i = 1, 4 do "
    "local got = redis.call('XREADGROUP', 'GROUP', group, me, 'COUNT', "
    "batch, 'STREAMS', s, '>') "
    "local new = got and got[1] and got[1][2] or {} "
    "if i == 1 and #new == 1 and redis.call('ZCARD', parked) == 0 then "
    "return new[1] end "
    "for _, entry in ipairs(new) do park(entry) end "
    "if #new < batch then break end "
    "if i == 4 then return 1 end end "

    "if redis.call('ZCARD', parked) == 0 then return false end "
    "local ranks = redis.call('INCR', turn) % 8 == 0 and {1, 0} or {0, 1} "
    "local item = next_of(ranks[1]) or next_of(ranks[2]) "
    "if not item then redis.call('DEL', parked) return false end "
    "local id, doc = string.match(item, '^(%S+) (.*)$') "
    "redis.call('ZREM', parked, id) "
    "redis.call('XADD', s, '*', 'job', doc) "
    "local got = redis.call('XREADGROUP', 'GROUP', group, me, 'COUNT', 1, "
    "'STREAMS', s, '>') "
    "return got[1][2][1]";


redisReply *
wk_fair_next(wk_redis_t *redis, const char *queue, const char *group,
    const char *consumer)
{
    char         key[5][MDVR_KEY_MAX];
    redisReply  *reply;

    for ( ;; ) {
        reply = wk_redis(redis, "EVAL %s 5 %s %s %s %s %s %s %s "
                         WK_FAIR_BATCH, wk_fair_lua,
                         wk_queue_key(key[0], queue, ""),
                         wk_queue_key(key[1], queue, ":turns:0"),
                         wk_queue_key(key[2], queue, ":turns:1"),
                         wk_queue_key(key[3], queue, ":parked"),
                         wk_queue_key(key[4], queue, ":turn"), group, consumer);

        if (reply == NULL || reply->type != REDIS_REPLY_INTEGER) {
            return reply;
        }

        freeReplyObject(reply);         /* more to park than one call may */
    }
}
