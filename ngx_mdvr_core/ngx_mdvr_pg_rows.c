/*
 * Reading the rows of an answer: everything is text, null is "".
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
