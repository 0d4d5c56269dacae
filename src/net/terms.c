/*
 * terms.c: life of terms.h. Owns the texts and the list of headers. One thread.
 */
#include "terms.h"

#include <stdlib.h>
#include <string.h>

struct gyre__terms *gyre__terms_new(void)
{
    struct gyre__terms *terms = calloc(1, sizeof *terms);
    if (!terms) return NULL;
    *terms = (struct gyre__terms){
        .references = 1,
        .timeout = 30.0,
        .connect_timeout = 10.0,
        .max_body = 32 << 20,
        .max_redirects = 10,
        .verify = 1,
        .verify_proxy = 1,
        .isolate = 1,
        .http2 = 1,
    };
    return terms;
}

void gyre__terms_keep(struct gyre__terms *terms)
{
    terms->references++;
}

static void free_headers(struct curl_slist *headers)
{
    for (struct curl_slist *header = headers; header; header = header->next)
        explicit_bzero(header->data, strlen(header->data)); /* may be of credentials */
    curl_slist_free_all(headers);
}

void gyre__terms_release(struct gyre__terms *terms)
{
    if (!terms || --terms->references > 0) return;
    free_headers(terms->headers);
    free_headers(terms->bare_headers);
    if (terms->body) explicit_bzero(terms->body, terms->body_size);
    free(terms->body);
    if (terms->cookie) explicit_bzero(terms->cookie, strlen(terms->cookie));
    free(terms->cookie);
    free(terms->method);
    free(terms->cacert);
    free(terms->session);
    free(terms);
}
