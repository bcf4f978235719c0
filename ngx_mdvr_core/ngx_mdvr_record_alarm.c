
/*
 * Recordings because of an alarm.  The node that stored the alarm tells all,
 * through mdvr:ctl, and whoever has a live stream of the device records it:
 *
 *   {"op":"record","id":device,"alarm":uuid}
 *
 * The media id is made of the alarm and the channel, so that there is one
 * item of both, however often it is asked for.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_md5.h>

#include "ngx_mdvr_core/ngx_mdvr_record.h"
#include "ngx_mdvr_core/ngx_mdvr_redis.h"
#include "mdvr/domain/keys.h"


#define NGX_MDVR_RECORD_ALARM_S  20         /* after the alarm */


void
ngx_mdvr_record_alarm(const ngx_mdvr_uuid_t *device,
    const ngx_mdvr_uuid_t *alarm)
{
    u_char     text[160], ids[2][NGX_MDVR_UUID_LEN + 1];
    ngx_str_t  msg;

    static ngx_str_t  ctl = ngx_string(MDVR_CHANNEL_CTL);

    *ngx_mdvr_uuid_print(ids[0], device) = '\0';
    *ngx_mdvr_uuid_print(ids[1], alarm) = '\0';

    msg.data = text;
    msg.len = ngx_snprintf(text, sizeof(text), "{\"op\":\"record\",\"id\":\"%s"
                           "\",\"alarm\":\"%s\"}", ids[0], ids[1])
              - text;

    (void) ngx_mdvr_redis_publish(&ctl, &msg, 0);
}


/* RFC 9562, version 8 */

static void
ngx_mdvr_record_alarm_media(ngx_mdvr_uuid_t *media,
    const ngx_mdvr_uuid_t *alarm, uint8_t channel)
{
    ngx_md5_t  md5;

    ngx_md5_init(&md5);
    ngx_md5_update(&md5, "record", 6);
    ngx_md5_update(&md5, alarm->b, 16);
    ngx_md5_update(&md5, &channel, 1);
    ngx_md5_final(media->b, &md5);

    media->b[6] = (media->b[6] & 0x0f) | 0x80;
    media->b[8] = (media->b[8] & 0x3f) | 0x80;
}


/* The better stream of a camera that is watched in both is recorded. */

static ngx_uint_t
ngx_mdvr_record_alarm_wanted(mdvr_bus_t *bus, const mdvr_bus_info_t *info,
    const ngx_mdvr_uuid_t *device)
{
    mdvr_bus_ref_t   ref;
    mdvr_bus_info_t  main;

    if (info->kind != MDVR_BUS_KIND_LIVE || info->state != MDVR_BUS_LIVE
        || ngx_memcmp(info->device_id, device->b, 16) != 0)
    {
        return 0;
    }

    return info->stream == 0
           || mdvr_bus_find_key(bus, MDVR_BUS_KIND_LIVE, device->b,
                                info->channel, 0, &ref) != MDVR_OK
           || mdvr_bus_info(bus, ref, &main) != MDVR_OK
           || main.state != MDVR_BUS_LIVE;
}


void
ngx_mdvr_record_alarm_here(const ngx_mdvr_uuid_t *device,
    const ngx_mdvr_uuid_t *alarm)
{
    uint32_t            i;
    ngx_int_t           rc;
    mdvr_bus_t         *bus = ngx_mdvr_bus();
    mdvr_bus_info_t     info;
    ngx_mdvr_record_t   record;

    for (i = 0; bus && i < mdvr_bus_streams(bus); i++) {

        ngx_memzero(&record, sizeof(ngx_mdvr_record_t));

        if (mdvr_bus_at(bus, i, &record.ref) != MDVR_OK
            || mdvr_bus_info(bus, record.ref, &info) != MDVR_OK
            || !ngx_mdvr_record_alarm_wanted(bus, &info, device))
        {
            continue;
        }

        ngx_mdvr_record_alarm_media(&record.media_id, alarm, info.channel);
        record.alarm_id = *alarm;
        record.duration_s = NGX_MDVR_RECORD_ALARM_S;
        record.preroll_s = NGX_MDVR_RECORD_PREROLL;

        rc = ngx_mdvr_record_start(&record);

        if (rc == NGX_BUSY) {
            ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                          "too many recordings, an alarm of \"%s\" is not "
                          "recorded, channel: %ui", info.serial,
                          (ngx_uint_t) info.channel);
        }
    }
}
