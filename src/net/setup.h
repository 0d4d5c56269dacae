/* setup.h: tells libcurl what a transfer is to do. */
#ifndef GYRE_NET_SETUP_H
#define GYRE_NET_SETUP_H

#include "transfer.h"

/* Sets what is the same for all requests. For a new easy handle. */
void gyre__transfer_setup_once(struct gyre__transfer *transfer);

/* Sets the rest, of the terms only what is not set yet, and chooses identity and shard. Returns NULL, or what is wrong with
 * the input. */
const char *gyre__transfer_setup(struct gyre__transfer *transfer, const struct gyre__fetch *fetch);

/* Leaves nothing of the last request in the handle but its terms: no credentials of a proxy wait in the free list. */
void gyre__transfer_forget(struct gyre__transfer *transfer);

/* Before a redirect is followed: the next request is a GET when its status asks for one. */
void gyre__transfer_setup_next(struct gyre__transfer *transfer, long status);

/* Before each request of a transfer: cookies of the script's own are for the first one's origin. */
void gyre__transfer_setup_cookie(struct gyre__transfer *transfer);

/* CURLOPT_PREREQFUNCTION, _HEADERFUNCTION and _WRITEFUNCTION, in transfer.c. */
int gyre__transfer_on_request(void *owner, char *to, char *from, int to_port, int from_port);
size_t gyre__transfer_on_header(char *data, size_t unit, size_t count, void *owner);
size_t gyre__transfer_on_body(char *data, size_t unit, size_t count, void *owner);

#endif
