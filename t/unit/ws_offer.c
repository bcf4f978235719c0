/*
 * Offers of permessage-deflate, as a table.
 */

#include <stdio.h>

#include "mdvr/web/ws_offer.h"


static int  tests, failed;


static void
offer(const char *header, bool taken, unsigned bits, const char *what)
{
    bool      got;
    unsigned  n;

    got = mdvr_ws_offer_deflate(mdvr_str(header, strlen(header)), 12, &n);

    if (got != taken || n != bits) {
        printf("not ok %d - %s: %d, %u bits\n", ++tests, what, got, n);
        failed++;
        return;
    }

    printf("ok %d - %s\n", ++tests, what);
}


int
main(void)
{
    offer("permessage-deflate", true, 0, "the name alone");
    offer(" Permessage-Deflate ; client_max_window_bits", true, 0,
          "what browsers say, in any case");
    offer("permessage-deflate; client_max_window_bits=15", true, 0,
          "the client's window");
    offer("permessage-deflate; client_max_window_bits=\"8\"", true, 0,
          "a quoted value");
    offer("permessage-deflate; server_no_context_takeover;"
          "client_no_context_takeover", true, 0, "no context on either side");
    offer("permessage-deflate; server_max_window_bits=15", true, 15,
          "a window that is larger than ours");
    offer("permessage-deflate; server_max_window_bits=12", true, 12,
          "one of the same size");
    offer("permessage-deflate; server_max_window_bits=11", false, 0,
          "one that is too small");
    offer("permessage-deflate; server_max_window_bits=10, permessage-deflate",
          true, 0, "the next offer is taken");
    offer("permessage-deflate; server_max_window_bits", false, 0,
          "the server's window without a value");
    offer("permessage-deflate; server_max_window_bits=16", false, 0,
          "a value that is too large");
    offer("permessage-deflate; server_max_window_bits=08", false, 0,
          "a leading zero");
    offer("permessage-deflate; client_max_window_bits=7", false, 0,
          "a value that is too small");
    offer("permessage-deflate; client_max_window_bits=", false, 0,
          "an empty value");
    offer("permessage-deflate; server_no_context_takeover=1", false, 0,
          "a value where none belongs");
    offer("permessage-deflate; client_no_context_takeover; "
          "client_no_context_takeover", false, 0, "a parameter twice");
    offer("permessage-deflate; x", false, 0, "an unknown parameter");
    offer("permessage-deflate;", false, 0, "an empty parameter");
    offer("x-webkit-deflate-frame", false, 0, "another extension");
    offer("x-other; a=\"b\", permessage-deflate", true, 0,
          "another one before it");
    offer("", false, 0, "nothing");
    offer(",;=,", false, 0, "nothing but separators");

    printf("1..%d\n", tests);

    return failed != 0;
}
