/*
 * Offers of permessage-deflate in Sec-WebSocket-Extensions, RFC 7692,
 * section 7.1:
 *
 *   offers = offer *( "," offer )      offer = name *( ";" parameter )
 *
 *   server_no_context_takeover      no value
 *   client_no_context_takeover      no value
 *   server_max_window_bits=8..15    how the server must deflate at most
 *   client_max_window_bits[=8..15]  how the client will deflate
 *
 * An offer with anything else in it, or with a parameter twice, is not taken;
 * the next one may be.
 */

#ifndef MDVR_WEB_WS_OFFER_H
#define MDVR_WEB_WS_OFFER_H

#include "mdvr/basics/str.h"

/*
 * Whether one of the offers can be taken by a server that deflates with a
 * window of `window` bits and answers with both no_context_takeover.  *bits is
 * what the offer limits the server to, 0 when it does not.
 */
bool mdvr_ws_offer_deflate(mdvr_str_t header, unsigned window, unsigned *bits);

#endif /* MDVR_WEB_WS_OFFER_H */
