
/*
 * Examples of answers for the OpenAPI document, made from the schemas: one value for
 * each field, by its name where that says more than its type.
 */


#include "ngx_mdvr_api/ngx_http_mdvr_api_schema.h"

#include <string.h>


#define UUID    "\"0190b6c2-7c1a-7d3e-9f42-5b6a7c8d9e0f\""
#define HASH    "\"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\""
#define TOKEN   "\"AZ3k0u5wYq9bLhT7rXc2\""
#define LIVE    "\"/live/AZ3k0u5wYq9bLhT7rXc2.m5Vt/"


/* JSON texts; of several with one name the first whose kind fits is taken */

static const struct {
    const char  *name;
    const char  *value;
} api_examples[] = {
    { "access_token", "\"eyJhbGciOiJIUzI1NiIs...\"" },
    { "action", "\"auth.login\"" },
    { "address", "\"198.51.100.7\"" },
    { "app_id", "\"com.example.fleet\"" },
    { "at_s", "3.2" },
    { "box", "[0.31, 0.22, 0.4, 0.55]" },
    { "channel", "1" },
    { "channels", "4" },
    { "code", "\"V202\"" },
    { "codec", "\"avc1.64001e\"" },
    { "confidence", "0.87" },
    { "content", "\"1,1,,0\"" },
    { "course_deg", "152.1" },
    { "device_type", "\"T2018\"" },
    { "devices", "12" },
    { "distance_m", "5400" },
    { "duration_s", "15" },
    { "duration_s", "15.0" },
    { "email", "\"anna@example.com\"" },
    { "end_reason", "\"stopped by the viewer\"" },
    { "error", "\"channel does not exist\"" },
    { "error_code", "\"8\"" },
    { "expires_in", "900" },
    { "failed_reason", "\"no progress after 5 attempts\"" },
    { "firmware", "\"V6.1.33\"" },
    { "fmp4", LIVE "stream.mp4\"" },
    { "from", "\"2026-01-01\"" },
    { "fuel_l", "41.5" },
    { "hash", HASH },
    { "height", "480" },
    { "height_px", "480" },
    { "hls", LIVE "index.m3u8\"" },
    { "id", UUID },
    { "id", "1738" },
    { "imei", "\"860000000000042\"" },
    { "key", "\"mdvr_Xb0mV2...\"" },
    { "keyword", "\"C588\"" },
    { "kid", "\"0123456789abcdef\"" },
    { "kind", "\"panic_button\"" },
    { "lat", "22.672803" },
    { "live_minutes", "340" },
    { "lon", "114.059394" },
    { "md5", "\"900150983cd24fb0d6963f7d28e17f72\"" },
    { "message", "\"must be between 1 and 64\"" },
    { "mileage_m", "128400" },
    { "model", "\"hog\"" },
    { "model_version", "\"1\"" },
    { "name", "\"North depot\"" },
    { "node", "\"n1\"" },
    { "note", "\"called the driver\"" },
    { "object_id", UUID },
    { "object_type", "\"device\"" },
    { "offline_cause", "\"no network since 2026-01-31T08:15:30.250Z\"" },
    { "offline_reason", "\"timeout\"" },
    { "otpauth_url", "\"otpauth://totp/MDVR:anna@example.com?secret=...&issuer=MDVR\"" },
    { "path", "\"/mnt/sd0/2026-01/31/01-081500-082000.h264\"" },
    { "pem", "\"-----BEGIN PUBLIC KEY-----\\n...\\n-----END PUBLIC KEY-----\\n\"" },
    { "picture_url", "\"/files/6f1c.../sprite.jpg\"" },
    { "plate", "\"B-LB 7\"" },
    { "public_key", HASH },
    { "radius_m", "150.0" },
    { "reason", "\"timeout\"" },
    { "refresh_expires_in", "2592000" },
    { "refresh_token", TOKEN },
    { "request_id", UUID },
    { "retention_days", "90" },
    { "rpm", "1800" },
    { "satellites", "10" },
    { "secret", TOKEN },
    { "serial", "\"00007\"" },
    { "sha256", HASH },
    { "signal", "\"27\"" },
    { "size_bytes", "655360" },
    { "source", "\"alarm_file\"" },
    { "speed_kmh", "63.4" },
    { "sprite_url", "\"/files/6f1c.../sprite.jpg\"" },
    { "storage_bytes", "734003200" },
    { "temp_cabin_c", "21.5" },
    { "temp_device_c", "43.0" },
    { "temp_engine_c", "88.0" },
    { "thumbnail_url", "\"/files/6f1c.../thumb.jpg\"" },
    { "time_zone", "\"Europe/Berlin\"" },
    { "to", "\"2026-01-31\"" },
    { "token", TOKEN },
    { "trigger", "\"interval\"" },
    { "type", "\"device_info\"" },
    { "uid", "\"A4362779F6557409\"" },
    { "url", "\"https://fleet.example.com/files/6f1c.../video.mp4\"" },
    { "user_agent", "\"Mozilla/5.0\"" },
    { "users", "5" },
    { "version", "\"2.1\"" },
    { "whep", LIVE "whep\"" },
    { "width", "640" },
    { "width_px", "640" },
    { "ws", LIVE "ws\"" },
    { NULL, NULL }
};


static int
ngx_http_mdvr_api_example_fits(const ngx_http_mdvr_api_field_t *f,
    const json_t *value)
{
    double  number;

    switch (f->type) {

    case MDVR_API_ANY:
        return 1;

    case MDVR_API_INT:
    case MDVR_API_NUMBER:

        if (!json_is_number(value)
            || (f->type == MDVR_API_INT && !json_is_integer(value)))
        {
            return 0;
        }

        number = json_number_value(value);

        return (f->min == 0 && f->max == 0)
               || (number >= f->min && number <= f->max);

    case MDVR_API_BOOL:
    case MDVR_API_OBJECT:
    case MDVR_API_ENUM:
    case MDVR_API_UUID:
    case MDVR_API_TIME:
        return 0;

    default:
        return json_is_string(value)
               && (f->max == 0 || json_string_length(value) <= f->max);
    }
}


static json_t *
ngx_http_mdvr_api_example_value(const ngx_http_mdvr_api_field_t *f)
{
    size_t   i;
    json_t  *value;

    for (i = 0; api_examples[i].name; i++) {

        if (strcmp(api_examples[i].name, f->name) != 0) {
            continue;
        }

        value = json_loads(api_examples[i].value, JSON_DECODE_ANY, NULL);

        if (value && ngx_http_mdvr_api_example_fits(f, value)) {
            return value;
        }

        json_decref(value);
    }

    switch (f->type) {

    case MDVR_API_UUID:
        return json_loads(UUID, JSON_DECODE_ANY, NULL);

    case MDVR_API_TIME:
        return json_string("2026-01-31T08:15:30.250Z");

    case MDVR_API_ENUM:
        return json_stringn(f->words, strcspn(f->words, "|"));

    case MDVR_API_INT:
        return json_integer(f->min > 0 ? (json_int_t) f->min : 0);

    case MDVR_API_NUMBER:
        return json_real(f->min > 0 ? f->min : 0);

    case MDVR_API_BOOL:
        return json_true();

    case MDVR_API_OBJECT:
        return f->object ? ngx_http_mdvr_api_example(f->object)
                         : json_object();

    case MDVR_API_ANY:
        return json_null();

    default:
        return json_string(f->name);
    }
}


json_t *
ngx_http_mdvr_api_example(const ngx_http_mdvr_api_schema_t *schema)
{
    json_t                           *example, *value;
    const ngx_http_mdvr_api_field_t  *f;

    if (schema->example) {
        return json_loads(schema->example, JSON_DECODE_ANY, NULL);
    }

    example = json_object();

    for (f = schema->fields; f->name; f++) {
        value = ngx_http_mdvr_api_example_value(f);

        if (f->flags & MDVR_API_LIST) {
            value = json_pack("[o]", value);

        } else if (f->flags & MDVR_API_MAP) {
            value = json_pack("{s:o}", "1", value);
        }

        json_object_set_new(example, f->name, value);
    }

    return example;
}
