/*
 * The configuration of the core module: what it is before anybody says
 * something, what each directive makes of it, and what must not be left out.
 */

#include "ngx_mdvr_core/ngx_mdvr_conf.h"
#include "ngx_mdvr_core/ngx_mdvr_auth.h"
#include "ngx_mdvr_core/ngx_mdvr_command.h"
#include "ngx_mdvr_core/ngx_mdvr_pg.h"
#include "ngx_mdvr_core/ngx_mdvr_redis.h"
#include "ngx_mdvr_core/ngx_mdvr_registry.h"
#include "ngx_mdvr_core/ngx_mdvr_seal.h"
#include "ngx_mdvr_core/ngx_mdvr_zone.h"


void *
ngx_mdvr_create_conf(ngx_cycle_t *cycle)
{
    ngx_mdvr_core_conf_t  *conf;

    conf = ngx_pcalloc(cycle->pool, sizeof(ngx_mdvr_core_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->media_port = NGX_CONF_UNSET_UINT;

    conf->seal = ngx_pcalloc(cycle->pool, sizeof(mdvr_seal_ring_t));
    if (conf->seal == NULL) {
        return NULL;
    }

    return conf;
}


char *
ngx_mdvr_init_conf(ngx_cycle_t *cycle, void *data)
{
    ngx_mdvr_core_conf_t  *conf = data;

    ngx_conf_init_uint_value(conf->media_port, 6602);

    if (conf->public_host.len == 0) {
        ngx_str_set(&conf->public_host, "127.0.0.1");
    }

    if (conf->zone && conf->node.len == 0) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "\"mdvr_zone\" needs \"mdvr_node\"");
        return NGX_CONF_ERROR;
    }

    if (conf->zone == NULL
        && (conf->node.len || conf->redis_url.len || conf->bus_name.len
            || conf->pg[NGX_MDVR_PG_STREAM].conninfo.len
            || conf->pg[NGX_MDVR_PG_API].conninfo.len))
    {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "the \"mdvr_...\" directives need \"mdvr_zone\"");
        return NGX_CONF_ERROR;
    }

    if (conf->pg[NGX_MDVR_PG_API].conninfo.len && conf->secret_key.len == 0) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "\"mdvr_postgres api\" needs \"mdvr_secret_key\": a file "
                      "with 64 hexadecimal digits (openssl rand -hex 32), or "
                      "\"off\"");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ngx_mdvr_conf_node(ngx_conf_t *cf, ngx_command_t *cmd, void *data)
{
    ngx_mdvr_core_conf_t  *conf = data;

    u_char      c;
    ngx_str_t  *value;
    ngx_uint_t  i;

    value = cf->args->elts;

    if (conf->node.len) {
        return "is duplicate";
    }

    if (value[1].len == 0 || value[1].len > NGX_MDVR_NODE_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid node id \"%V\": it must have 1 to %d "
                           "characters", &value[1], NGX_MDVR_NODE_MAX);
        return NGX_CONF_ERROR;
    }

    for (i = 0; i < value[1].len; i++) {
        c = value[1].data[i];

        if ((c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-') {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid node id \"%V\": only a-z, 0-9 and "
                               "\"-\" are allowed", &value[1]);
            return NGX_CONF_ERROR;
        }
    }

    conf->node = value[1];

    if (cf->args->nelts == 3) {
        if (value[2].len < 8
            || (ngx_strncmp(value[2].data, "http://", 7) != 0
                && ngx_strncmp(value[2].data, "https://", 8) != 0))
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid node URL \"%V\": it must begin with "
                               "http:// or https://", &value[2]);
            return NGX_CONF_ERROR;
        }

        conf->node_url = value[2];

        while (conf->node_url.data[conf->node_url.len - 1] == '/') {
            conf->node_url.len--;
        }
    }

    return NGX_CONF_OK;
}


char *
ngx_mdvr_conf_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *data)
{
    ngx_mdvr_core_conf_t  *conf = data;

    ssize_t           size, least;
    ngx_str_t        *value;
    ngx_mdvr_zone_t  *zone;

    static ngx_str_t  name = ngx_string("mdvr");

    value = cf->args->elts;

    if (conf->zone) {
        return "is duplicate";
    }

    size = ngx_parse_size(&value[1]);
    least = 4 * 1024 * 1024;

    if (size == NGX_ERROR || size < least) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid size \"%V\": a zone must have at least "
                           "4m", &value[1]);
        return NGX_CONF_ERROR;
    }

    zone = ngx_pcalloc(cf->pool, sizeof(ngx_mdvr_zone_t));
    if (zone == NULL) {
        return NGX_CONF_ERROR;
    }

    conf->zone = ngx_shared_memory_add(cf, &name, size, &ngx_mdvr_module);
    if (conf->zone == NULL) {
        return NGX_CONF_ERROR;
    }

    conf->zone_size = size;
    conf->zone->init = ngx_mdvr_init_zone;
    conf->zone->data = zone;

    return NGX_CONF_OK;
}


char *
ngx_mdvr_conf_state_dir(ngx_conf_t *cf, ngx_command_t *cmd, void *data)
{
    ngx_mdvr_core_conf_t  *conf = data;

    ngx_str_t  *value;

    value = cf->args->elts;

    if (conf->state_dir.len) {
        return "is duplicate";
    }

    conf->state_dir = value[1];

    if (ngx_conf_full_name(cf->cycle, &conf->state_dir, 0) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    while (conf->state_dir.len > 1
           && conf->state_dir.data[conf->state_dir.len - 1] == '/')
    {
        conf->state_dir.len--;
    }

    conf->state_dir.data[conf->state_dir.len] = '\0';

    return NGX_CONF_OK;
}


char *
ngx_mdvr_conf_postgres(ngx_conf_t *cf, ngx_command_t *cmd, void *data)
{
    ngx_mdvr_core_conf_t  *conf = data;

    ngx_int_t            n;
    ngx_str_t           *value, s;
    ngx_uint_t           i;
    ngx_mdvr_pg_conf_t  *pg;

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "stream") == 0) {
        pg = &conf->pg[NGX_MDVR_PG_STREAM];

    } else if (ngx_strcmp(value[1].data, "api") == 0) {
        pg = &conf->pg[NGX_MDVR_PG_API];

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\" in \"mdvr_postgres\": "
                           "it must be \"stream\" or \"api\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    if (pg->conninfo.len) {
        return "is duplicate";
    }

    s.data = (u_char *) ngx_strstr(value[2].data, "password=");

    if (s.data) {
        s.data += sizeof("password=") - 1;
        s.len = strcspn((char *) s.data, " ");

        if (ngx_mdvr_is_example(&s)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "the password in \"%V %V\" is an example, or "
                               "shorter than 8 characters", &value[0],
                               &value[1]);
            return NGX_CONF_ERROR;
        }
    }

    pg->conninfo = value[2];
    pg->pool = 4;
    pg->prepare = 1;

    for (i = 3; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "pool=", 5) == 0) {
            s.data = value[i].data + 5;
            s.len = value[i].len - 5;

            n = ngx_atoi(s.data, s.len);

            if (n == NGX_ERROR || n < 1 || n > 64) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid parameter \"%V\" in "
                                   "\"mdvr_postgres\": pool must be between "
                                   "1 and 64", &value[i]);
                return NGX_CONF_ERROR;
            }

            pg->pool = n;
            continue;
        }

        if (ngx_strcmp(value[i].data, "prepare=on") == 0) {
            pg->prepare = 1;
            continue;
        }

        if (ngx_strcmp(value[i].data, "prepare=off") == 0) {
            pg->prepare = 0;
            continue;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\" in \"mdvr_postgres\"",
                           &value[i]);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ngx_mdvr_conf_redis(ngx_conf_t *cf, ngx_command_t *cmd, void *data)
{
    ngx_mdvr_core_conf_t  *conf = data;

    ngx_str_t  *value;

    value = cf->args->elts;

    if (conf->redis_url.len) {
        return "is duplicate";
    }

    conf->redis_url = value[1];

    if (cf->args->nelts == 3) {
        if (ngx_strncmp(value[2].data, "password_file=", 14) != 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\" in \"mdvr_redis\"",
                               &value[2]);
            return NGX_CONF_ERROR;
        }

        conf->redis_password_file.data = value[2].data + 14;
        conf->redis_password_file.len = value[2].len - 14;

        if (ngx_conf_full_name(cf->cycle, &conf->redis_password_file, 0)
            != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    return ngx_mdvr_redis_conf(cf, conf);
}


char *
ngx_mdvr_conf_bus(ngx_conf_t *cf, ngx_command_t *cmd, void *data)
{
    ngx_mdvr_core_conf_t  *conf = data;

    ssize_t      size;
    ngx_int_t    n;
    ngx_str_t   *value, s;
    ngx_uint_t   i;

    value = cf->args->elts;

    if (conf->bus_name.len) {
        return "is duplicate";
    }

    conf->bus_name = value[1];
    ngx_str_set(&conf->bus_dir, "/dev/shm");
    conf->bus_streams = 256;
    conf->bus_ring = 4 * 1024 * 1024;

    if (value[1].len == 0 || ngx_strlchr(value[1].data,
                                         value[1].data + value[1].len, '/'))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid bus name \"%V\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "dir=/", 5) == 0) {
            conf->bus_dir.data = value[i].data + 4;
            conf->bus_dir.len = value[i].len - 4;
            continue;
        }

        if (ngx_strncmp(value[i].data, "streams=", 8) == 0) {
            n = ngx_atoi(value[i].data + 8, value[i].len - 8);

            if (n == NGX_ERROR || n < 1 || n > 65536) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid parameter \"%V\" in \"mdvr_bus\":"
                                   " streams must be between 1 and 65536",
                                   &value[i]);
                return NGX_CONF_ERROR;
            }

            conf->bus_streams = n;
            continue;
        }

        if (ngx_strncmp(value[i].data, "ring=", 5) == 0) {
            s.data = value[i].data + 5;
            s.len = value[i].len - 5;

            size = ngx_parse_size(&s);

            if (size == NGX_ERROR || size < 256 * 1024
                || size > 256 * 1024 * 1024)
            {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid parameter \"%V\" in \"mdvr_bus\":"
                                   " ring must be between 256k and 256m",
                                   &value[i]);
                return NGX_CONF_ERROR;
            }

            conf->bus_ring = size;
            continue;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\" in \"mdvr_bus\"",
                           &value[i]);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ngx_mdvr_conf_port(ngx_conf_t *cf, void *post, void *data)
{
    ngx_int_t  *np = data;

    if (*np < 1 || *np > 65535) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid port \"%i\": it must be between 1 and "
                           "65535", *np);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}
