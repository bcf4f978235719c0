/*
 * Setters of the directives in the main context, for the core module only.
 */

#ifndef NGX_MDVR_CONF_H
#define NGX_MDVR_CONF_H


#include "ngx_mdvr_core/ngx_mdvr_core.h"


void *ngx_mdvr_create_conf(ngx_cycle_t *cycle);
char *ngx_mdvr_init_conf(ngx_cycle_t *cycle, void *conf);
char *ngx_mdvr_conf_node(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_mdvr_conf_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_mdvr_conf_state_dir(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_mdvr_conf_postgres(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_mdvr_conf_redis(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_mdvr_conf_bus(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_mdvr_conf_port(ngx_conf_t *cf, void *post, void *data);

/* The zone's first use, or its next one after a reload (ngx_mdvr_module.c). */
ngx_int_t ngx_mdvr_init_zone(ngx_shm_zone_t *shm_zone, void *data);


#endif
