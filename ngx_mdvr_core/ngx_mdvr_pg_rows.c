/*
 * Reading an answer: its rows, of which everything is text and null is "", or
 * its error.
 */

#include "ngx_mdvr_core/ngx_mdvr_pg_rows.h"


ngx_uint_t
ngx_mdvr_pg_nrows(const ngx_mdvr_pg_rows_t *rows)
{
    return PQntuples(rows->result);
}


ngx_uint_t
ngx_mdvr_pg_ncols(const ngx_mdvr_pg_rows_t *rows)
{
    return PQnfields(rows->result);
}


ngx_str_t
ngx_mdvr_pg_value(const ngx_mdvr_pg_rows_t *rows, ngx_uint_t row,
    ngx_uint_t col)
{
    ngx_str_t  value;

    value.data = (u_char *) PQgetvalue(rows->result, row, col);
    value.len = PQgetlength(rows->result, row, col);

    if (value.data == NULL) {
        ngx_str_set(&value, "");
    }

    return value;
}


ngx_uint_t
ngx_mdvr_pg_isnull(const ngx_mdvr_pg_rows_t *rows, ngx_uint_t row,
    ngx_uint_t col)
{
    return PQgetisnull(rows->result, row, col);
}


ngx_int_t
ngx_mdvr_pg_int(const ngx_mdvr_pg_rows_t *rows, ngx_uint_t row,
    ngx_uint_t col, int64_t *value)
{
    char       *end;
    int64_t     n;
    ngx_str_t   s;

    s = ngx_mdvr_pg_value(rows, row, col);

    if (s.len == 0) {
        return NGX_DECLINED;
    }

    n = strtoll((char *) s.data, &end, 10);

    if (end != (char *) s.data + s.len) {
        return NGX_DECLINED;
    }

    *value = n;

    return NGX_OK;
}


ngx_int_t
ngx_mdvr_pg_uuid(const ngx_mdvr_pg_rows_t *rows, ngx_uint_t row,
    ngx_uint_t col, ngx_mdvr_uuid_t *value)
{
    ngx_str_t  s;

    s = ngx_mdvr_pg_value(rows, row, col);

    return ngx_mdvr_uuid_parse(&s, value) == NGX_OK ? NGX_OK : NGX_DECLINED;
}


ngx_uint_t
ngx_mdvr_pg_affected(const ngx_mdvr_pg_rows_t *rows)
{
    return strtoul(PQcmdTuples(rows->result), NULL, 10);
}


/* -- errors --------------------------------------------------------------- */

static const struct {
    const char  *state;                 /* SQLSTATE or its beginning */
    mdvr_rc_t    rc;
} ngx_mdvr_pg_states[] = {
    { "23505", MDVR_E_CONFLICT },       /* unique_violation */
    { "23P01", MDVR_E_CONFLICT },       /* exclusion_violation */
    { "23503", MDVR_E_RANGE },          /* foreign_key_violation */
    { "23502", MDVR_E_RANGE },          /* not_null_violation */
    { "23514", MDVR_E_RANGE },          /* check_violation */
    { "22",    MDVR_E_RANGE },          /* data exception */
    { "42501", MDVR_E_FORBIDDEN },      /* insufficient_privilege */
    { "40001", MDVR_E_UNAVAILABLE },    /* serialization_failure */
    { "40P01", MDVR_E_UNAVAILABLE },    /* deadlock_detected */
    { "25006", MDVR_E_UNAVAILABLE },    /* read only: a standby */
    { "53",    MDVR_E_UNAVAILABLE },    /* insufficient resources */
    { "57014", MDVR_E_TIMEOUT },        /* query_canceled */
    { "57",    MDVR_E_UNAVAILABLE },    /* operator intervention */
    { "58",    MDVR_E_UNAVAILABLE },    /* system error */
    { "08",    MDVR_E_UNAVAILABLE },    /* connection exception */
    { "MD401", MDVR_E_UNAUTHENTICATED },
    { "MD403", MDVR_E_FORBIDDEN },
    { "MD404", MDVR_E_NOT_FOUND },
    { "MD409", MDVR_E_CONFLICT },
    { "MD422", MDVR_E_RANGE },
    { "MD429", MDVR_E_LIMIT },
};


void
ngx_mdvr_pg_field(const PGresult *result, int code, ngx_str_t *field)
{
    char  *s;

    s = PQresultErrorField(result, code);

    field->data = (u_char *) (s ? s : "");
    field->len = ngx_strlen(field->data);
}


ngx_uint_t
ngx_mdvr_pg_undone(const PGresult *result)
{
    ngx_str_t  state;

    ngx_mdvr_pg_field(result, PG_DIAG_SQLSTATE, &state);

    return ngx_strcmp(state.data, "40P01") == 0
           || ngx_strcmp(state.data, "40001") == 0;
}


mdvr_rc_t
ngx_mdvr_pg_verdict(const PGresult *result, ngx_mdvr_pg_error_t *e,
    mdvr_rc_t rc)
{
    ngx_uint_t  i;

    ngx_mdvr_pg_field(result, PG_DIAG_SQLSTATE, &e->sqlstate);
    ngx_mdvr_pg_field(result, PG_DIAG_MESSAGE_PRIMARY, &e->message);
    ngx_mdvr_pg_field(result, PG_DIAG_MESSAGE_DETAIL, &e->detail);
    ngx_mdvr_pg_field(result, PG_DIAG_CONSTRAINT_NAME, &e->constraint);

    for (i = 0;
         i < sizeof(ngx_mdvr_pg_states) / sizeof(ngx_mdvr_pg_states[0]);
         i++)
    {
        if (ngx_strncmp(e->sqlstate.data, ngx_mdvr_pg_states[i].state,
                        ngx_strlen(ngx_mdvr_pg_states[i].state)) == 0)
        {
            return ngx_mdvr_pg_states[i].rc;
        }
    }

    return rc;
}


const char *
ngx_mdvr_pg_words(const char *text)
{
    size_t       n;
    static char  line[512];

    for (n = 0; *text && n < sizeof(line) - 1; text++) {
        if ((u_char) *text > ' ') {
            line[n++] = *text;

        } else if (n && line[n - 1] != ' ') {
            line[n++] = ' ';
        }
    }

    while (n && line[n - 1] == ' ') {
        n--;
    }

    line[n] = '\0';

    return line;
}
