/*
 * Files that are to be fetched from devices (rows of mdvr.download).
 *
 * The chief of each node asks PostgreSQL every few seconds which devices of
 * this node have a download waiting; each gets a FILE session on the frame
 * bus and C702.  The media front writes what arrives; an interrupted file
 * waits in the queue again and is resumed from the bytes that are staged here.
 *
 *   <state dir>/staged/<download id>.part      what has come
 *   <state dir>/staged/<download id>.bin, .job complete, see docs/internals.md
 */

#ifndef NGX_MDVR_DOWNLOAD_H
#define NGX_MDVR_DOWNLOAD_H


#include "ngx_mdvr_core/ngx_mdvr_core.h"
#include "ngx_mdvr_core/ngx_mdvr_bus.h"


/* Once a second in the chief; starts what is due. */
void ngx_mdvr_download_poll(ngx_mdvr_core_conf_t *conf, ngx_log_t *log);

/* Looks at the next opportunity, e.g. when one has just been queued. */
void ngx_mdvr_download_hurry(void);

/*
 * A FILE session ended without its file: the download waits again, or has
 * failed for good after five attempts without progress.  Other sessions are
 * left alone.  `safe` is how many bytes are staged, -1: not known.
 */
void ngx_mdvr_download_interrupted(mdvr_bus_ref_t ref, int64_t safe,
    const char *reason);

/*
 * The same because of trouble of our own, such as a full disk: it waits for a
 * minute, and the attempt does not count.
 */
void ngx_mdvr_download_held(mdvr_bus_ref_t ref, int64_t safe,
    const char *reason);

/* How far it is, now and then; `size` 0: not known yet. */
void ngx_mdvr_download_progress(const ngx_str_t *id, uint64_t safe,
    uint64_t size);

/* All there; `path` is the staged file. */
void ngx_mdvr_download_complete(const ngx_str_t *id, uint64_t safe,
    const ngx_str_t *path);


#endif
