/* Redis names.  What stands in braces is the hash tag of Redis Cluster. */

#include "mdvr/domain/keys.h"


static void
mdvr_key_tagged(mdvr_buf_t *b, const char *prefix, mdvr_str_t tag)
{
    mdvr_buf_cstr(b, prefix);
    mdvr_buf_chr(b, '{');
    mdvr_buf_str(b, tag);
    mdvr_buf_chr(b, '}');
}


void
mdvr_key_route(mdvr_buf_t *b, mdvr_str_t serial)
{
    mdvr_key_tagged(b, "mdvr:route:", serial);
}


void
mdvr_route_write(mdvr_buf_t *b, const mdvr_route_t *r)
{
    mdvr_buf_str(b, r->node);
    mdvr_buf_chr(b, ' ');
    mdvr_buf_u64(b, r->slot);
    mdvr_buf_chr(b, ' ');
    mdvr_buf_u64(b, r->connection);
}


bool
mdvr_route_parse(mdvr_str_t value, mdvr_route_t *r)
{
    ptrdiff_t   a, c;
    mdvr_str_t  slot;

    a = mdvr_str_chr(value, ' ');
    c = mdvr_str_rchr(value, ' ');

    if (a <= 0 || c == a) {
        return false;
    }

    r->node = mdvr_str(value.p, (size_t) a);
    slot = mdvr_str(value.p + a + 1, (size_t) (c - a - 1));

    return mdvr_str_u32(slot, &r->slot)
           && mdvr_str_u64(mdvr_str(value.p + c + 1,
                                    value.len - (size_t) c - 1),
                           &r->connection);
}


static void
mdvr_channel_slot(mdvr_buf_t *b, const char *prefix, mdvr_str_t node,
    uint32_t slot)
{
    mdvr_buf_cstr(b, prefix);
    mdvr_buf_str(b, node);
    mdvr_buf_chr(b, ':');
    mdvr_buf_u64(b, slot);
}


void
mdvr_channel_command(mdvr_buf_t *b, mdvr_str_t node, uint32_t slot)
{
    mdvr_channel_slot(b, "mdvr:cmd:", node, slot);
}


void
mdvr_channel_answer(mdvr_buf_t *b, mdvr_str_t node, uint32_t slot)
{
    mdvr_channel_slot(b, "mdvr:ans:", node, slot);
}


void
mdvr_channel_event(mdvr_buf_t *b, mdvr_str_t tenant)
{
    mdvr_buf_cstr(b, "mdvr:event:");
    mdvr_buf_str(b, tenant);
}


void
mdvr_key_wire(mdvr_buf_t *b, mdvr_str_t device)
{
    mdvr_buf_cstr(b, "mdvr:wire:{");
    mdvr_buf_str(b, device);
    mdvr_buf_chr(b, '}');
}


void
mdvr_key_live(mdvr_buf_t *b, mdvr_str_t device, unsigned channel,
    mdvr_str_t stream)
{
    mdvr_buf_cstr(b, "mdvr:live:{");
    mdvr_buf_str(b, device);
    mdvr_buf_chr(b, ':');
    mdvr_buf_u64(b, channel);
    mdvr_buf_chr(b, ':');
    mdvr_buf_str(b, stream);
    mdvr_buf_chr(b, '}');
}


void
mdvr_key_list(mdvr_buf_t *b, mdvr_str_t device, int64_t from_min,
    int64_t to_min, int type, int channel)
{
    mdvr_key_tagged(b, "mdvr:list:", device);
    mdvr_buf_chr(b, ':');
    mdvr_buf_i64(b, from_min);
    mdvr_buf_chr(b, ':');
    mdvr_buf_i64(b, to_min);
    mdvr_buf_chr(b, ':');
    mdvr_buf_i64(b, type);
    mdvr_buf_chr(b, ':');
    mdvr_buf_i64(b, channel);
}


void
mdvr_key_node(mdvr_buf_t *b, mdvr_str_t node)
{
    mdvr_buf_cstr(b, "mdvr:node:");
    mdvr_buf_str(b, node);
}


void
mdvr_key_vsession(mdvr_buf_t *b, mdvr_str_t id)
{
    mdvr_key_tagged(b, "mdvr:vsession:", id);
}


void
mdvr_key_idem(mdvr_buf_t *b, mdvr_str_t tenant, mdvr_str_t user,
    mdvr_str_t key)
{
    mdvr_key_tagged(b, "mdvr:idem:", tenant);
    mdvr_buf_chr(b, ':');
    mdvr_buf_str(b, user);
    mdvr_buf_chr(b, ':');
    mdvr_buf_str(b, key);
}


void
mdvr_key_rate(mdvr_buf_t *b, mdvr_str_t what, mdvr_str_t who)
{
    mdvr_key_tagged(b, "mdvr:rate:", what);
    mdvr_buf_chr(b, ':');
    mdvr_buf_str(b, who);
}


void
mdvr_key_job(mdvr_buf_t *b, mdvr_str_t queue, const char *suffix)
{
    mdvr_key_tagged(b, "mdvr:job:", queue);
    mdvr_buf_cstr(b, suffix);
}


void
mdvr_key_notify(mdvr_buf_t *b, mdvr_str_t service, const char *what)
{
    mdvr_key_tagged(b, "mdvr:notify:", service);
    mdvr_buf_chr(b, ':');
    mdvr_buf_cstr(b, what);
}
