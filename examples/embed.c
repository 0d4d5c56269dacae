/*
 * The pool in a C program: three proxies, nine leases, and what is known of each proxy afterwards.
 *
 *     cc examples/embed.c -Isrc/include -Lbuild/release -lgyre -Wl,-rpath,build/release -o build/embed
 */
#include <gyre/gyre.h>
#include <stdio.h>

static void show(struct gyre_pool *pool, uint64_t id)
{
    struct gyre_proxy proxy = {.size = sizeof proxy};
    char url[512];
    gyre_pool_url(pool, id, url, sizeof url); /* without the password */
    gyre_pool_get(pool, id, &proxy);
    printf("%-32s started %d, succeeded %d, failed %d\n", url, (int)proxy.started, (int)proxy.succeeded,
           (int)proxy.failed);
}

int main(void)
{
    static const char *urls[] = {"http://192.0.2.7:3128", "http://anna:secret@192.0.2.8:8080",
                                 "socks5h://192.0.2.9:1080"};
    struct gyre_pool *pool;
    struct gyre_lease lease;
    uint64_t id;

    if (gyre_pool_open(NULL, &pool) < 0) return 1;
    for (int i = 0; i < 3; i++) {
        struct gyre_proxy_spec spec = {.size = sizeof spec, .url = urls[i]};
        if (gyre_pool_add(pool, &spec, &id) < 0) return fprintf(stderr, "%s\n", gyre_detail()), 1;
    }
    for (int i = 1; i <= 9; i++) {
        if (gyre_acquire(pool, NULL, &lease) < 0) return fprintf(stderr, "%s\n", gyre_detail()), 1;
        gyre_complete_ms(pool, &lease, i == 5 ? GYRE_PROXY_BAD : GYRE_OK, 100.0 + i);
    }
    for (id = 0; gyre_pool_next(pool, &id);) show(pool, id);
    gyre_pool_close(pool);
    return 0;
}
