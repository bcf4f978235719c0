/* Object storage: S3. */

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "worker/s3_call.h"
#include "worker/trace.h"

#define WK_S3_TRIES     4
#define WK_S3_PAUSE_MS  200
#define WK_S3_ANSWER    (1 << 20)       /* bytes of XML kept */
#define WK_S3_PARTS     10000           /* the most that S3 takes */
#define WK_S3_EMPTY  \
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

bool
wk_s3_check(const wk_conf_t *conf, char *error, size_t size)
{
    const char  *missing;

    missing = conf->s3_endpoint == NULL ? "MDVR_S3_ENDPOINT"
              : conf->s3_bucket == NULL ? "MDVR_S3_BUCKET"
              : conf->s3_access_key == NULL ? "MDVR_S3_ACCESS_KEY_FILE"
              : conf->s3_secret_key == NULL ? "MDVR_S3_SECRET_KEY_FILE" : NULL;

    if (missing) {
        snprintf(error, size, "MDVR_STORAGE=s3: needs %s", missing);
        return false;
    }

    if (strncmp(conf->s3_endpoint, "http://", 7) != 0
        && strncmp(conf->s3_endpoint, "https://", 8) != 0)
    {
        snprintf(error, size, "MDVR_S3_ENDPOINT must begin with https:// or "
                 "http://");
        return false;
    }

    return true;
}


static bool
wk_s3_sha256(const void *p, size_t len, uint8_t *out)
{
    return EVP_Digest(p, len, out, NULL, EVP_sha256(), NULL) == 1;
}


static bool
wk_s3_hmac(const void *key, size_t key_len, const void *p, size_t len,
    uint8_t *out)
{
    return HMAC(EVP_sha256(), key, (int) key_len, p, len, out, NULL) != NULL;
}


/* A digest of the body, in hex. */

static bool
wk_s3_digest(const wk_s3_call_t *c, const EVP_MD *type, char *hex)
{
    bool             ok;
    ssize_t          n;
    uint8_t          md[EVP_MAX_MD_SIZE];
    unsigned         i, len;
    uint64_t         pos;
    EVP_MD_CTX      *ctx;
    static uint8_t   buf[1 << 16];

    len = 0;
    ctx = EVP_MD_CTX_new();
    ok = ctx && EVP_DigestInit_ex(ctx, type, NULL) == 1;

    if (ok && c->fd < 0) {
        ok = EVP_DigestUpdate(ctx, c->body ? c->body : "", c->length) == 1;
    }

    for (pos = 0; ok && c->fd >= 0 && pos < c->length; pos += (uint64_t) n) {
        n = pread(c->fd, buf, c->length - pos < sizeof(buf)
                  ? (size_t) (c->length - pos) : sizeof(buf),
                  (off_t) (c->offset + pos));
        ok = n > 0 && EVP_DigestUpdate(ctx, buf, (size_t) n) == 1;
    }

    ok = ok && EVP_DigestFinal_ex(ctx, md, &len) == 1;
    EVP_MD_CTX_free(ctx);

    for (i = 0; ok && i < len; i++) {
        sprintf(hex + 2 * i, "%02x", md[i]);
    }

    return ok;
}


static size_t
wk_s3_read(char *p, size_t size, size_t count, void *data)
{
    size_t         n;
    ssize_t        got;
    wk_s3_call_t  *c = data;

    n = size * count;

    if (n > c->length - c->sent) {
        n = (size_t) (c->length - c->sent);
    }

    if (n == 0) {
        return 0;
    }

    if (c->fd < 0) {
        memcpy(p, c->body + c->sent, n);
        c->sent += n;
        return n;
    }

    got = pread(c->fd, p, n, (off_t) (c->offset + c->sent));

    if (got <= 0) {
        return CURL_READFUNC_ABORT;
    }

    c->sent += (uint64_t) got;

    return (size_t) got;
}


static int
wk_s3_seek(void *data, curl_off_t offset, int origin)
{
    wk_s3_call_t  *c = data;

    if (origin != SEEK_SET || offset < 0 || (uint64_t) offset > c->length) {
        return CURL_SEEKFUNC_FAIL;
    }

    c->sent = (uint64_t) offset;

    return CURL_SEEKFUNC_OK;
}


static size_t
wk_s3_write(char *p, size_t size, size_t count, void *data)
{
    char          *text;
    size_t         n;
    ssize_t        put;
    wk_s3_call_t  *c = data;

    n = size * count;

    if (c->out >= 0 && c->status == 200) {
        put = write(c->out, p, n);
        c->write_failed = put != (ssize_t) n;
        return put < 0 ? 0 : (size_t) put;
    }

    if (c->text_len + n > WK_S3_ANSWER) {
        return 0;
    }

    text = realloc(c->text, c->text_len + n + 1);
    if (text == NULL) {
        return 0;
    }

    memcpy(text + c->text_len, p, n);
    c->text = text;
    c->text_len += n;
    text[c->text_len] = '\0';

    return n;
}


static size_t
wk_s3_header(char *p, size_t size, size_t count, void *data)
{
    size_t         i, n;
    wk_s3_call_t  *c = data;

    n = size * count;

    if (n > 9 && strncmp(p, "HTTP/", 5) == 0) {
        for (i = 5; i < n && p[i] != ' '; i++) { /* version */ }
        c->status = i < n ? strtol(p + i, NULL, 10) : 0;
        c->etag[0] = '\0';

    } else if (n > 5 && strncasecmp(p, "etag:", 5) == 0) {
        for (i = 5; i < n && (p[i] == ' ' || p[i] == '"'); i++) { /* void */ }
        snprintf(c->etag, sizeof(c->etag), "%.*s", (int) (n - i), p + i);
        c->etag[strcspn(c->etag, "\"\r\n")] = '\0';

    } else if (n > 15 && strncasecmp(p, "content-length:", 15) == 0) {
        c->size = strtoull(p + 15, NULL, 10);
    }

    return n;
}


static bool
wk_s3_failed(wk_storage_t *s, const wk_s3_call_t *c, const char *why)
{
    char         code[64];
    const char  *p, *end;

    code[0] = '\0';
    p = c->text ? strstr(c->text, "<Code>") : NULL;
    end = p ? strstr(p, "</Code>") : NULL;

    if (end) {
        snprintf(code, sizeof(code), ": %.*s", (int) (end - p - 6), p + 6);
    }

    if (why) {
        snprintf(s->error, sizeof(s->error), "cannot %s %.100s in S3: %.100s",
                 c->method, c->key, why);

    } else {
        snprintf(s->error, sizeof(s->error), "cannot %s %.100s in S3: HTTP "
                 "status %ld%s", c->method, c->key, c->status, code);
    }

    return false;
}


/* One attempt.  True: there is an answer, whatever it says. */

static bool
wk_s3_once(wk_storage_t *s, wk_s3_call_t *c, const char *hash, CURL *curl)
{
    char                   url[1600], path[800], line[700], auth[800],
                           stamp[MDVR_SIGV4_TIME];
    CURLcode               res;
    long                status;
    wk_span_t           span;
    unsigned               i;
    mdvr_buf_t             b, u, a, t;
    const char            *host, *key;
    const wk_conf_t       *conf;
    mdvr_sigv4_t           sig;
    struct curl_slist     *list;
    mdvr_sigv4_pair_t      headers[10];
    mdvr_sigv4_request_t   r;

    conf = s->conf;
    key = c->key;
    host = strstr(conf->s3_endpoint, "://") + 3;

    sig = (mdvr_sigv4_t) {
        wk_s3_sha256, wk_s3_hmac, mdvr_cstr(conf->s3_access_key),
        mdvr_cstr(conf->s3_secret_key), mdvr_cstr(conf->s3_region),
        MDVR_STR("s3")
    };

    b = mdvr_buf(path, sizeof(path));
    mdvr_buf_chr(&b, '/');
    mdvr_sigv4_encode(&b, mdvr_cstr(conf->s3_bucket), true);

    if (*key) {
        mdvr_buf_chr(&b, '/');
        mdvr_sigv4_encode(&b, mdvr_cstr(conf->s3_prefix), true);
        mdvr_sigv4_encode(&b, mdvr_cstr(key), true);
    }

    u = mdvr_buf(url, sizeof(url) - 1);
    mdvr_buf_cstr(&u, conf->s3_endpoint);
    mdvr_buf_str(&u, mdvr_buf_view(&b));

    if (c->nquery) {
        mdvr_buf_chr(&u, '?');
        mdvr_sigv4_query(&u, c->query, c->nquery);
    }

    url[u.len] = '\0';

    memset(&r, 0, sizeof(r));
    r.time = wk_now_ms() / 1000;
    t = mdvr_buf(stamp, sizeof(stamp));
    mdvr_sigv4_time(&t, r.time);

    headers[0] = (mdvr_sigv4_pair_t) { MDVR_STR("host"), mdvr_cstr(host) };
    headers[1] = (mdvr_sigv4_pair_t) { MDVR_STR("x-amz-content-sha256"),
                                       mdvr_cstr(hash) };
    headers[2] = (mdvr_sigv4_pair_t) { MDVR_STR("x-amz-date"),
                                       mdvr_buf_view(&t) };
    memcpy(&headers[3], c->headers, c->nheaders * sizeof(headers[0]));

    r.method = mdvr_cstr(c->method);
    r.path = mdvr_buf_view(&b);
    r.query = c->query;
    r.nquery = c->nquery;
    r.headers = headers;
    r.nheaders = 3 + c->nheaders;
    r.payload = mdvr_cstr(hash);

    a = mdvr_buf(auth, sizeof(auth) - 1);
    mdvr_buf_cstr(&a, "Authorization: ");

    if (b.full || u.full || mdvr_sigv4_authorization(&sig, &r, &a) != MDVR_OK)
    {
        c->status = 400;
        return wk_s3_failed(s, c, "the request is too long");
    }

    auth[a.len] = '\0';
    list = curl_slist_append(NULL, auth);
    list = curl_slist_append(list, "Expect:");
    list = curl_slist_append(list, "Content-Type:");

    for (i = 1; i < r.nheaders; i++) {
        snprintf(line, sizeof(line), "%.*s: %.*s", (int) headers[i].name.len,
                 (const char *) headers[i].name.p,
                 (int) headers[i].value.len,
                 (const char *) headers[i].value.p);
        list = curl_slist_append(list, line);
    }

    c->sent = 0;
    c->status = 0;
    c->size = 0;
    c->text_len = 0;
    c->write_failed = false;

    if (c->text) {
        c->text[0] = '\0';
    }

    if (c->out >= 0 && (lseek(c->out, 0, SEEK_SET) < 0
                        || ftruncate(c->out, 0) < 0))
    {
        curl_slist_free_all(list);
        return wk_s3_failed(s, c, strerror(errno));
    }

    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, c->method);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, 5000L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1024L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, 20L);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, wk_s3_write);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, c);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, wk_s3_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, c);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");

    if (strcmp(c->method, "HEAD") == 0) {
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);

    } else if (strcmp(c->method, "PUT") == 0
               || strcmp(c->method, "POST") == 0)
    {
        curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(curl, CURLOPT_READFUNCTION, wk_s3_read);
        curl_easy_setopt(curl, CURLOPT_READDATA, c);
        curl_easy_setopt(curl, CURLOPT_SEEKFUNCTION, wk_s3_seek);
        curl_easy_setopt(curl, CURLOPT_SEEKDATA, c);
        curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE,
                         (curl_off_t) c->length);
    }

    wk_trace_begin(&span, MDVR_SPAN_CLIENT, c->method);
    res = curl_easy_perform(curl);
    curl_slist_free_all(list);

    status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    wk_trace_text(&span, "http.request.method", c->method);
    wk_trace_text(&span, "server.address", s->conf->s3_endpoint);
    wk_trace_number(&span, "http.response.status_code", status);
    wk_trace_end(&span, res == CURLE_OK ? NULL : curl_easy_strerror(res));

    if (res != CURLE_OK) {
        c->status = 0;
        return wk_s3_failed(s, c, c->write_failed ? "no space"
                                                  : curl_easy_strerror(res));
    }

    return true;
}


/* True on 2xx, and on 404 when that is an answer to what was asked. */

bool
wk_s3_call(wk_storage_t *s, wk_s3_call_t *c)
{
    char       hash[65];
    bool       answered;
    unsigned   n;

    if (s->curl == NULL) {
        s->curl = curl_easy_init();

        if (s->curl == NULL) {
            return wk_s3_failed(s, c, "out of memory");
        }
    }

    snprintf(hash, sizeof(hash), "%s", WK_S3_EMPTY);

    if (c->length && !wk_s3_digest(c, EVP_sha256(), hash)) {
        return wk_s3_failed(s, c, "the file cannot be read");
    }

    for (n = 0; ; n++) {
        answered = wk_s3_once(s, c, hash, s->curl);

        if (answered && c->status >= 200 && c->status < 300) {
            return true;
        }

        if (answered) {
            wk_s3_failed(s, c, NULL);
        }

        if (n + 1 == WK_S3_TRIES || c->write_failed
            || (c->status >= 300 && c->status < 500 && c->status != 429
                && c->status != 408))
        {
            return false;
        }

        usleep((useconds_t) (WK_S3_PAUSE_MS * 1000 << (2 * n))
               + (useconds_t) (random() % (WK_S3_PAUSE_MS * 1000)));
    }
}


void
wk_s3_begin(wk_s3_call_t *c, const char *method, const char *key)
{
    memset(c, 0, sizeof(*c));
    c->method = method;
    c->key = key;
    c->fd = -1;
    c->out = -1;
}


void
wk_s3_arg(wk_s3_call_t *c, const char *name, const char *value)
{
    c->query[c->nquery++] = (mdvr_sigv4_pair_t) { mdvr_cstr(name),
                                                  mdvr_cstr(value) };
}


static void
wk_s3_encryption(wk_storage_t *s, wk_s3_call_t *c)
{
    if (s->conf->s3_encryption) {
        c->headers[c->nheaders++] = (mdvr_sigv4_pair_t) {
            MDVR_STR("x-amz-server-side-encryption"),
            mdvr_cstr(s->conf->s3_encryption) };
    }

    if (s->conf->s3_kms_key) {
        c->headers[c->nheaders++] = (mdvr_sigv4_pair_t) {
            MDVR_STR("x-amz-server-side-encryption-aws-kms-key-id"),
            mdvr_cstr(s->conf->s3_kms_key) };
    }
}


/* The text of the next <name> at or behind *p, which moves behind it. */

bool
wk_s3_xml(const char **p, const char *end, const char *name, char *out,
    size_t size)
{
    int          n;
    char         open[40], close[40];
    const char  *from, *to;

    snprintf(open, sizeof(open), "<%s>", name);
    snprintf(close, sizeof(close), "</%s>", name);

    from = strstr(*p, open);
    to = from ? strstr(from, close) : NULL;

    if (to == NULL || (end && to > end)) {
        return false;
    }

    from += strlen(open);
    n = (int) (to - from);

    if (n >= 12 && strncmp(from, "&quot;", 6) == 0
        && strncmp(to - 6, "&quot;", 6) == 0)
    {
        from += 6;                      /* an ETag */
        n -= 12;

    } else if (n >= 2 && from[0] == '"' && to[-1] == '"') {
        from++;
        n -= 2;
    }

    *p = to + strlen(close);

    return n > 0 && snprintf(out, size, "%.*s", n, from) < (int) size;
}


/* --- uploads in parts ------------------------------------------------------ */

/* An upload of this key that was begun and not completed. */

static bool
wk_s3_upload_find(wk_storage_t *s, const char *key, char *id, size_t size)
{
    char           full[600], name[600];
    bool           found;
    const char    *p;
    wk_s3_call_t   c;

    snprintf(full, sizeof(full), "%s%s", s->conf->s3_prefix, key);
    wk_s3_begin(&c, "GET", "");
    wk_s3_arg(&c, "uploads", "");
    wk_s3_arg(&c, "prefix", full);

    found = false;

    if (wk_s3_call(s, &c) && c.text) {
        p = c.text;

        while (!found && (p = strstr(p, "<Upload>")) != NULL) {
            found = wk_s3_xml(&p, NULL, "Key", name, sizeof(name))
                    && strcmp(name, full) == 0
                    && wk_s3_xml(&p, NULL, "UploadId", id, size);
        }
    }

    free(c.text);

    return found;
}


static bool
wk_s3_upload_new(wk_storage_t *s, const char *key, char *id, size_t size)
{
    bool           ok;
    const char    *p;
    wk_s3_call_t   c;

    wk_s3_begin(&c, "POST", key);
    wk_s3_arg(&c, "uploads", "");
    wk_s3_encryption(s, &c);

    ok = wk_s3_call(s, &c);
    p = c.text;

    if (ok && (p == NULL || !wk_s3_xml(&p, NULL, "UploadId", id, size))) {
        ok = wk_s3_failed(s, &c, "the answer names no upload");
    }

    free(c.text);

    return ok;
}


/* Which parts are there; etags[n] of part n + 1 stays "" when it is not. */

static void
wk_s3_upload_parts(wk_storage_t *s, const char *key, const char *id,
    char (*etags)[WK_S3_ETAG], unsigned parts)
{
    bool           more;
    char           number[16], marker[16];
    unsigned       n;
    const char    *p, *q;
    wk_s3_call_t   c;

    snprintf(marker, sizeof(marker), "0");

    do {
        wk_s3_begin(&c, "GET", key);
        wk_s3_arg(&c, "uploadId", id);
        wk_s3_arg(&c, "part-number-marker", marker);

        if (!wk_s3_call(s, &c) || c.text == NULL) {
            free(c.text);
            return;
        }

        p = c.text;
        n = 0;

        while ((p = strstr(p, "<Part>")) != NULL) {
            q = p;

            if (wk_s3_xml(&q, NULL, "PartNumber", number, sizeof(number))) {
                n = (unsigned) strtoul(number, NULL, 10);
                snprintf(marker, sizeof(marker), "%u", n);
                q = p;

                if (n >= 1 && n <= parts) {
                    wk_s3_xml(&q, NULL, "ETag", etags[n - 1], WK_S3_ETAG);
                }
            }

            p += 6;
        }

        more = n && strstr(c.text, "<IsTruncated>true") != NULL;
        free(c.text);

    } while (more);
}


static bool
wk_s3_upload_part(wk_storage_t *s, const char *key, const char *id, int fd,
    uint64_t offset, uint64_t length, unsigned number, char *etag,
    unsigned *sent)
{
    bool           ok;
    char           md5[33], n[16];
    wk_s3_call_t   c;

    snprintf(n, sizeof(n), "%u", number);
    wk_s3_begin(&c, "PUT", key);
    c.fd = fd;
    c.offset = offset;
    c.length = length;

    /* a part that is there and is the same need not be sent again */

    if (etag[0] && wk_s3_digest(&c, EVP_md5(), md5)
        && strcmp(etag, md5) == 0)
    {
        return true;
    }

    wk_s3_arg(&c, "partNumber", n);
    wk_s3_arg(&c, "uploadId", id);

    ok = wk_s3_call(s, &c);
    (*sent)++;

    if (ok && c.etag[0] == '\0') {
        ok = wk_s3_failed(s, &c, "the answer has no ETag");
    }

    snprintf(etag, WK_S3_ETAG, "%s", c.etag);
    free(c.text);

    return ok;
}


static bool
wk_s3_upload_end(wk_storage_t *s, const char *key, const char *id,
    char (*etags)[WK_S3_ETAG], unsigned parts)
{
    bool           ok;
    char          *xml;
    size_t         size;
    unsigned       i;
    mdvr_buf_t     b;
    wk_s3_call_t   c;

    size = 100 + parts * (size_t) (WK_S3_ETAG + 80);
    xml = malloc(size);

    wk_s3_begin(&c, "POST", key);

    if (xml == NULL) {
        return wk_s3_failed(s, &c, "out of memory");
    }

    b = mdvr_buf(xml, size);
    mdvr_buf_cstr(&b, "<CompleteMultipartUpload>");

    for (i = 0; i < parts; i++) {
        mdvr_buf_fmt(&b, "<Part><PartNumber>%u</PartNumber><ETag>\"%s\""
                     "</ETag></Part>", i + 1, etags[i]);
    }

    mdvr_buf_cstr(&b, "</CompleteMultipartUpload>");

    wk_s3_arg(&c, "uploadId", id);
    c.body = xml;
    c.length = b.len;
    ok = wk_s3_call(s, &c);

    /* "200 OK" may still carry an error: it is sent before the work */

    if (ok && c.text && strstr(c.text, "<Error>")) {
        c.status = 500;
        ok = wk_s3_failed(s, &c, NULL);
    }

    free(c.text);
    free(xml);

    return ok;
}


bool
wk_s3_upload_abort(wk_storage_t *s, const char *key, const char *id)
{
    bool           ok;
    wk_s3_call_t   c;

    wk_s3_begin(&c, "DELETE", key);
    wk_s3_arg(&c, "uploadId", id);
    ok = wk_s3_call(s, &c) || c.status == 404;
    free(c.text);

    return ok;
}


static bool
wk_s3_put_parts(wk_storage_t *s, const char *key, int fd, uint64_t size)
{
    bool       ok;
    char       id[512], count[16], (*etags)[WK_S3_ETAG];
    unsigned   i, parts, sent;
    uint64_t   part, offset;

    part = s->conf->s3_part;

    while (size / part >= WK_S3_PARTS) {
        part *= 2;
    }

    parts = (unsigned) ((size + part - 1) / part);
    etags = calloc(parts, WK_S3_ETAG);

    if (etags == NULL) {
        snprintf(s->error, sizeof(s->error), "out of memory");
        return false;
    }

    if (wk_s3_upload_find(s, key, id, sizeof(id))) {
        wk_s3_upload_parts(s, key, id, etags, parts);
        ok = true;

    } else {
        ok = wk_s3_upload_new(s, key, id, sizeof(id));
    }

    sent = 0;

    for (i = 0, offset = 0; ok && i < parts; i++, offset += part) {
        ok = wk_s3_upload_part(s, key, id, fd, offset,
                               size - offset < part ? size - offset : part,
                               i + 1, etags[i], &sent);
    }

    ok = ok && wk_s3_upload_end(s, key, id, etags, parts);
    free(etags);

    snprintf(count, sizeof(count), "%u", parts);
    snprintf(id, sizeof(id), "%u", sent);
    wk_log(WK_DEBUG, "object sent in parts", "key", key, "parts", count,
           "sent", id, NULL);

    return ok;
}


/* --- the storage ------------------------------------------------------------ */

bool
wk_s3_put(wk_storage_t *s, const char *key, const char *file,
    uint64_t *size_bytes)
{
    int            fd;
    bool           ok;
    struct stat    st;
    wk_s3_call_t   c;

    wk_s3_begin(&c, "PUT", key);
    fd = open(file, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &st) < 0) {
        wk_s3_failed(s, &c, strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
        return false;
    }

    if ((uint64_t) st.st_size > s->conf->s3_part) {
        ok = wk_s3_put_parts(s, key, fd, (uint64_t) st.st_size);

    } else {
        c.fd = fd;
        c.length = (uint64_t) st.st_size;
        wk_s3_encryption(s, &c);
        ok = wk_s3_call(s, &c);
        free(c.text);
    }

    close(fd);

    if (ok && size_bytes) {
        *size_bytes = (uint64_t) st.st_size;
    }

    return ok;
}


bool
wk_s3_get(wk_storage_t *s, const char *key, char *path, size_t size)
{
    int            n;
    bool           ok;
    char           id[37];
    wk_s3_call_t   c;

    wk_uuid(id);
    wk_s3_begin(&c, "GET", key);
    n = snprintf(path, size, "%s/mdvr-%s.obj", s->conf->tmp, id);

    if (n < 0 || (size_t) n >= size) {
        return wk_s3_failed(s, &c, "the path is too long");
    }

    c.out = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (c.out < 0) {
        return wk_s3_failed(s, &c, strerror(errno));
    }

    ok = wk_s3_call(s, &c);

    if (close(c.out) < 0 && ok) {
        ok = wk_s3_failed(s, &c, strerror(errno));
    }

    if (!ok) {
        unlink(path);
    }

    free(c.text);

    return ok;
}


bool
wk_s3_delete(wk_storage_t *s, const char *key)
{
    bool           ok;
    wk_s3_call_t   c;

    wk_s3_begin(&c, "DELETE", key);
    ok = wk_s3_call(s, &c) || c.status == 404;
    free(c.text);

    return ok;
}


int
wk_s3_head(wk_storage_t *s, const char *key, uint64_t *size_bytes)
{
    bool           ok;
    wk_s3_call_t   c;

    wk_s3_begin(&c, "HEAD", key);
    ok = wk_s3_call(s, &c);
    free(c.text);

    if (ok && size_bytes) {
        *size_bytes = c.size;
    }

    return ok ? 1 : c.status == 404 ? 0 : -1;
}
