/*
 * Registrations.  The fields behind the location group are counted, because
 * the forms of a keyword differ in their number only.
 */

#include "mdvr/dc/register.h"
#include "mdvr/dc/text.h"


/* a small non-negative number, or -1 */
static int
mdvr_reg_int(mdvr_str_t s)
{
    uint32_t  v;

    return mdvr_str_u32(s, &v) && v <= INT32_MAX ? (int) v : -1;
}


static int64_t
mdvr_reg_i64(mdvr_str_t s)
{
    int64_t  v;

    return mdvr_str_i64(s, &v) && v >= 0 ? v : -1;
}


mdvr_rc_t
mdvr_v101_parse(const mdvr_message_t *m, const mdvr_location_t *loc,
    mdvr_v101_t *r)
{
    unsigned  i;
    uint64_t  type;

    i = loc->next;

    r->protocol = mdvr_message_token(m, i);
    r->device_type = mdvr_message_token(m, i + 1);
    r->login_address = mdvr_message_token(m, i + 2);
    r->login_port = mdvr_message_token(m, i + 3);
    r->power_on_count = mdvr_reg_i64(mdvr_message_token(m, i + 4));
    r->connect_count = mdvr_reg_i64(mdvr_message_token(m, i + 5));
    r->plate = mdvr_message_token(m, i + 6);
    r->network = mdvr_reg_int(mdvr_message_token(m, i + 7));
    r->network_name = mdvr_message_token(m, i + 8);
    r->audio_type = mdvr_reg_int(mdvr_message_token(m, i + 9));
    r->storage_type = mdvr_reg_int(mdvr_message_token(m, i + 10));
    r->manufacturer = mdvr_message_token(m, i + 11);
    r->manufacturer_type = mdvr_message_token(m, i + 12);
    r->imei = mdvr_message_token(m, i + 13);
    r->firmware = mdvr_message_token(m, i + 14);
    r->network_library = mdvr_message_token(m, i + 15);
    r->extra = mdvr_message_rest(m, i + 16);
    r->channels_hint = 0;

    if (mdvr_str_u64(r->device_type, &type)) {

        if (type >= 0x1000 && type <= 0xffff) {
            r->channels_hint = type & 0xff;

        } else if (type == 2) {
            r->channels_hint = 4;               /* old model */
        }
    }

    return r->protocol.len && r->device_type.len ? MDVR_OK : MDVR_E_ABSENT;
}


const char *
mdvr_network_type_name(int network)
{
    static const char *const  names[] = { "3g", "wifi", "wired", "4g" };

    return network >= 0 && network <= 3 ? names[network] : NULL;
}


const char *
mdvr_storage_type_name(int storage)
{
    static const char *const  names[] = { "sd_card", "hard_disk", "ssd" };

    return storage >= 1 && storage <= 3 ? names[storage - 1] : NULL;
}


static void
mdvr_reg_json_text(mdvr_json_t *j, const char *key, mdvr_str_t s)
{
    uint8_t     tmp[MDVR_TEXT_MAX];
    mdvr_buf_t  b;

    b = mdvr_buf(tmp, sizeof(tmp));
    mdvr_text_decode(&b, s, sizeof(tmp));
    mdvr_json_str(j, key, mdvr_buf_view(&b));
}


static void
mdvr_reg_json_int(mdvr_json_t *j, const char *key, int64_t v)
{
    if (v < 0) {
        mdvr_json_null(j, key);

    } else {
        mdvr_json_i64(j, key, v);
    }
}


void
mdvr_v101_json(mdvr_json_t *j, const mdvr_v101_t *r)
{
    mdvr_reg_json_text(j, "protocol", r->protocol);
    mdvr_reg_json_text(j, "device_type", r->device_type);
    mdvr_reg_json_text(j, "login_address", r->login_address);
    mdvr_reg_json_text(j, "login_port", r->login_port);
    mdvr_reg_json_int(j, "power_on_count", r->power_on_count);
    mdvr_reg_json_int(j, "connect_count", r->connect_count);
    mdvr_reg_json_text(j, "plate", r->plate);
    mdvr_json_cstr(j, "network", mdvr_network_type_name(r->network));
    mdvr_reg_json_text(j, "network_name", r->network_name);
    mdvr_reg_json_int(j, "audio_type", r->audio_type);
    mdvr_json_cstr(j, "storage", mdvr_storage_type_name(r->storage_type));
    mdvr_reg_json_text(j, "manufacturer", r->manufacturer);
    mdvr_reg_json_text(j, "manufacturer_type", r->manufacturer_type);
    mdvr_reg_json_text(j, "imei", r->imei);
    mdvr_reg_json_text(j, "firmware", r->firmware);
    mdvr_reg_json_text(j, "network_library", r->network_library);

    if (r->extra.len) {
        mdvr_reg_json_text(j, "extra", r->extra);
    }

    mdvr_reg_json_int(j, "channels_hint",
                      r->channels_hint ? (int64_t) r->channels_hint : -1);
}


static const char *const mdvr_session_names[MDVR_SESSION_COUNT] = {
    "none", "live", "file", "audio", "upgrade", "snapshot", "search",
    "config", "query", "push", "fetch"
};


const char *
mdvr_session_name(mdvr_session_e kind)
{
    return mdvr_session_names[(unsigned) kind < MDVR_SESSION_COUNT ? kind
                                                                   : 0];
}


mdvr_session_e
mdvr_session_of(mdvr_keyword_e kw)
{
    switch (kw) {
    case MDVR_KW_V102: return MDVR_SESSION_LIVE;
    case MDVR_KW_V103: return MDVR_SESSION_FILE;
    case MDVR_KW_V105: return MDVR_SESSION_AUDIO;
    case MDVR_KW_V106: return MDVR_SESSION_UPGRADE;
    case MDVR_KW_V107: return MDVR_SESSION_SNAPSHOT;
    case MDVR_KW_V108: return MDVR_SESSION_SEARCH;
    case MDVR_KW_V109: return MDVR_SESSION_CONFIG;
    case MDVR_KW_V110: return MDVR_SESSION_QUERY;
    case MDVR_KW_V111: return MDVR_SESSION_PUSH;
    case MDVR_KW_V112: return MDVR_SESSION_FETCH;
    default: return MDVR_SESSION_NONE;
    }
}


/* V103: name and plate are joined by '|' (documents) or ',' (captured) */
static void
mdvr_reg_file(mdvr_str_t rest, mdvr_media_reg_t *r)
{
    ptrdiff_t  cut;

    cut = mdvr_str_rchr(rest, '|');

    if (cut < 0) {
        cut = mdvr_str_rchr(rest, ',');
    }

    if (cut < 0) {
        r->file_name = rest;
        return;
    }

    r->file_name = mdvr_str(rest.p, (size_t) cut);
    r->plate = mdvr_str(rest.p + cut + 1, rest.len - (size_t) cut - 1);
}


static mdvr_rc_t
mdvr_reg_live(const mdvr_message_t *m, unsigned i, mdvr_media_reg_t *r)
{
    r->command = mdvr_message_token(m, i);
    r->channel = mdvr_reg_int(mdvr_message_token(m, i + 1));
    r->stream = mdvr_reg_int(mdvr_message_token(m, i + 2));
    r->plate = mdvr_message_token(m, i + 3);

    return r->channel < 0 || r->channel > 99 || r->stream < 0 || r->stream > 1
           ? MDVR_E_RANGE : MDVR_OK;
}


static void
mdvr_reg_audio(const mdvr_message_t *m, unsigned i, unsigned n,
    mdvr_media_reg_t *r)
{
    r->command = mdvr_message_token(m, i);
    r->audio_channels = mdvr_reg_int(mdvr_message_token(m, i + 1));
    r->sample_rate = mdvr_reg_int(mdvr_message_token(m, i + 2));
    r->bits = mdvr_reg_int(mdvr_message_token(m, i + 3));
    r->format = mdvr_reg_int(mdvr_message_token(m, i + 4));
    r->frame_length = mdvr_reg_int(mdvr_message_token(m, i + 5));
    r->source = mdvr_reg_int(mdvr_message_token(m, i + 6));

    if (n >= 9) {
        r->channel = mdvr_reg_int(mdvr_message_token(m, i + 7));
        r->plate = mdvr_message_token(m, i + 8);

    } else {
        r->plate = mdvr_message_token(m, i + 7);
    }
}


static void
mdvr_reg_config(const mdvr_message_t *m, unsigned i, unsigned n,
    mdvr_media_reg_t *r)
{
    mdvr_str_t  offset;

    r->command = mdvr_message_token(m, i);

    if (n >= 7) {
        r->direction = mdvr_reg_int(mdvr_message_token(m, i + 1));
        i++;
    }

    offset = mdvr_message_token(m, i + 1);
    r->offset = mdvr_reg_i64(offset);
    r->size = mdvr_reg_i64(mdvr_message_token(m, i + 2));
    r->file_name = mdvr_message_token(m, i + 3);
    r->md5 = mdvr_message_token(m, i + 4);
    r->plate = mdvr_message_token(m, i + 5);

    if (r->direction < 0) {
        r->direction = offset.len ? 0 : 1;
    }
}


static bool
mdvr_session_id_valid(mdvr_str_t s)
{
    size_t  i;

    if (s.len == 0 || s.len > MDVR_SESSION_ID_MAX) {
        return false;
    }

    for (i = 0; i < s.len; i++) {
        if (s.p[i] < 0x20 || s.p[i] > 0x7e) {
            return false;
        }
    }

    return true;
}


mdvr_rc_t
mdvr_media_reg_parse(const mdvr_message_t *m, const mdvr_location_t *loc,
    mdvr_media_reg_t *r)
{
    unsigned   i, n;
    mdvr_rc_t  rc;

    memset(r, 0, sizeof(mdvr_media_reg_t));

    r->channel = r->stream = -1;
    r->size = r->offset = -1;
    r->format = r->audio_channels = r->sample_rate = r->bits = -1;
    r->frame_length = r->source = r->direction = -1;

    r->kind = mdvr_session_of(m->kw);

    if (r->kind == MDVR_SESSION_NONE) {
        return MDVR_E_UNSUPPORTED;
    }

    i = loc->next;

    r->protocol = mdvr_message_token(m, i);
    r->device_type = mdvr_message_token(m, i + 1);
    r->server_address = mdvr_message_token(m, i + 2);
    r->server_port = mdvr_message_token(m, i + 3);
    r->session_id = mdvr_message_token(m, i + 4);

    if (!mdvr_session_id_valid(r->session_id)
        && r->kind != MDVR_SESSION_FETCH)
    {
        return MDVR_E_ABSENT;
    }

    i += 5;
    n = m->nbody > i ? m->nbody - i : 0;
    rc = MDVR_OK;

    switch (r->kind) {

    case MDVR_SESSION_LIVE:
        rc = mdvr_reg_live(m, i, r);
        break;

    case MDVR_SESSION_FILE:
        r->size = mdvr_reg_i64(mdvr_message_token(m, i));
        mdvr_reg_file(mdvr_message_rest(m, i + 1), r);

        if (r->size < 0) {
            rc = MDVR_E_RANGE;
        }

        break;

    case MDVR_SESSION_AUDIO:
        mdvr_reg_audio(m, i, n, r);
        break;

    case MDVR_SESSION_UPGRADE:
        if (n >= 3) {
            r->file_name = mdvr_message_token(m, i++);
        }

        r->offset = mdvr_reg_i64(mdvr_message_token(m, i));
        r->plate = mdvr_message_token(m, i + 1);
        break;

    case MDVR_SESSION_SNAPSHOT:
        r->channel = mdvr_reg_int(mdvr_message_token(m, i));
        r->size = mdvr_reg_i64(mdvr_message_token(m, i + 1));
        r->format = mdvr_reg_int(mdvr_message_token(m, i + 2));
        r->plate = mdvr_message_token(m, i + 3);

        if (r->channel < 0 || r->channel > 99 || r->size < 0) {
            rc = MDVR_E_RANGE;
        }

        break;

    case MDVR_SESSION_CONFIG:
        mdvr_reg_config(m, i, n, r);
        break;

    case MDVR_SESSION_FETCH:
        r->offset = mdvr_reg_i64(mdvr_message_token(m, i + 1));
        r->plate = mdvr_message_token(m, i + 2);
        r->file_name = mdvr_message_token(m, i + 3);
        break;

    default:
        r->plate = mdvr_message_token(m, i);
    }

    if (r->file_name.len > MDVR_TEXT_PATH_MAX) {
        return MDVR_E_RANGE;
    }

    return rc;
}
