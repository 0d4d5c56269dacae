/* setup.h: tells libcurl what a transfer is to do. */
#ifndef GYRE_NET_SETUP_H
#define GYRE_NET_SETUP_H

#include "transfer.h"

/* Sets every option of the transfer's easy handle and chooses its shard. Returns NULL, or what is wrong with the
 * input. Takes over fetch->headers in any case. */
const char *gyre__transfer_setup(struct gyre__transfer *transfer, const struct gyre__fetch *fetch);

/* CURLOPT_HEADERFUNCTION and CURLOPT_WRITEFUNCTION, in transfer.c. */
size_t gyre__transfer_on_header(char *data, size_t unit, size_t count, void *owner);
size_t gyre__transfer_on_body(char *data, size_t unit, size_t count, void *owner);

#endif
